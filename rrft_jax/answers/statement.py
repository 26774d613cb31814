"""What a text states: a value, a tuple, a set, a relation. Everything in it is read, or it states nothing.

A statement is (kind, parts, label):
    "value"     parts: expressions that are one value ("3 + 1 = 4"), the last one the answer; label: "x" of "x = 4"
    "equation"  parts: the two sides, the left one more than a name ("2x = 4")
    "relation"  parts: expressions and signs in turn ("1 < x <= 2")
    "ratio"     parts: expressions ("3:4")
    "list", "or", or the brackets of a container such as "()", "[)", "{}"   parts: statements
"""

import re
from typing import NamedTuple

from rrft_jax.answers import vocabulary
from rrft_jax.answers.conclusion import conclusion
from rrft_jax.answers.evaluate import evaluate
from rrft_jax.answers.exact import Exact, NotExact, Undefined, close
from rrft_jax.answers.expression import FUNCTIONS, Node, parse
from rrft_jax.answers.framing import is_name, lead_in, trails
from rrft_jax.answers.measures import is_numeric
from rrft_jax.answers.tokens import GREEK, Token, Unreadable, spelling, tokenize


class Statement(NamedTuple):
    kind: str
    parts: tuple
    label: str = ""


_OPERATORS = tuple(
    (re.compile(pattern, re.IGNORECASE), sign)
    for pattern, sign in (
        (r"(?<![\w\\])(?:minus|negative)\s+(?=[\d\\√(])|负(?=\d)", " -"),
        (r"(?<![\w\\])plus\b", " + "),
        (r"(?<![\w\\])(?:times|multiplied by)\b", " * "),
        (r"(?<![\w\\])divided by\b", " / "),
        (r"(?<![\w\\])(?:equals|is equal to|leaves|gives|makes|yields)(?=\s*[-\d\\$√])|等于", " = "),
        (r"(?<![\w\\])(?:the )?square root of\b", " √"),
        (r"(?<![\w\\])(?:the )?cube root of\b", " ∛"),
        (r"(?<![\w\\])per\s?cent\b", " percent "),
        (r"(?<=\d) and a half\b", " 1/2"),
        (r"百分之(\d+(?:\.\d+)?)", r"\1%"),
    )
)
_WORDY = re.compile(r"[A-Za-z]{4}|[\u3400-\u9fff]|per ?cent")
_IN_WORDS = "|".join(sorted((w for w in (*vocabulary.CARDINALS, "hundred", "thousand") if w.isascii()), reverse=True))
_IN_WORDS = f"((?:(?:{_IN_WORDS})[- ])*(?:{_IN_WORDS})|[零一二三四五六七八九十])"
_GLOSS = re.compile(rf"(?<!\w){_IN_WORDS} ?个?\s?\((\d+)\)|\b(\d+)\s?\({_IN_WORDS}\)", re.IGNORECASE)
_SEPARATORS = frozenset({",", ";", "、"})
_AND = frozenset({"and", "und", "et", "和", "与"})
_OR = frozenset({"or", "oder", "ou", "或", "或者"})
_RELATIONS = frozenset({"<", ">", "<=", ">=", "!="})
_CONTAINERS = {"(": ")]", "[": "])", "{": "}", "{.": (".}",), "<": ">"}


def read_statement(text: str) -> Statement:
    """The statement of a text, its markup and surrounding words taken off. Unreadable where any of it is not known."""
    tokens = tokenize(_with_signs(conclusion(text)))
    if not tokens or [token.text for token in tokens[:2]] == ["0", "x"]:
        raise Unreadable("empty, or a hexadecimal number")
    reader = _Reader(tokens, lead_in(tokens))
    return reader.whole()


def _with_signs(text: str) -> str:
    """With signs for the words of arithmetic, and without a number repeated in words: "four (4)"."""
    if not _WORDY.search(text) or not re.search(r"\d", text):
        return text
    for pattern, sign in _OPERATORS:
        text = pattern.sub(sign, text)
    return _GLOSS.sub(_checked_gloss, text)


def _checked_gloss(found: re.Match) -> str:
    words, number = (found[1], found[2]) if found[2] else (found[4], found[3])
    if _cardinal(words) != int(number):
        raise Unreadable("a number that is another in words")
    return number


def _cardinal(words: str) -> int:
    """The number in words, such as "two hundred thirty-four"."""
    total = part = 0
    for word in re.split("[- ]", words.casefold()):
        if word == "thousand":
            total, part = total + 1000 * (part or 1), 0
        else:
            part = 100 * (part or 1) if word == "hundred" else part + vocabulary.CARDINALS[word]
    return total + part


class _Reader:
    def __init__(self, tokens: list[Token], place: int):
        self.tokens, self.place = tokens, place

    def text(self, ahead: int = 0) -> str:
        place = self.place + ahead
        return self.tokens[place].text if place < len(self.tokens) else ""

    def symbol(self, *texts: str, ahead: int = 0) -> bool:
        return self.text(ahead) in texts and self.tokens[self.place + ahead].kind == "symbol"

    def whole(self) -> Statement:
        while self.symbol("=", "~", "therefore", "implies", "to", ":", "#") and self.place < len(self.tokens) - 1:
            self.place += 1
        statement = self.list()
        if self.symbol(",", ".", ";", ":", "。") and self.place == len(self.tokens) - 1:
            self.place += 1
        if not trails(self.tokens[self.place :]):
            raise Unreadable(f"{spelling(self.tokens[self.place :])} is not understood")
        return statement

    def list(self) -> Statement:
        items, kinds = [self.item()], set()
        while (kind := self.separator()) is not None:
            kinds.add(kind)
            items.append(self.item())
        if len(items) == 1:
            return items[0]
        if kinds >= {"or"} and "and" in kinds:
            raise Unreadable("both and, and or")
        return Statement("or" if "or" in kinds else "list", tuple(items))

    def separator(self) -> str | None:
        """Step over what separates two items, unless nothing but trailing words follow it."""
        place, kind = self.place, None
        while self.place < len(self.tokens):
            token = self.tokens[self.place]
            if token.text in _SEPARATORS and token.kind == "symbol" and kind is None:
                kind = ","
            elif token.text.casefold() in _AND and token.kind == "word" and kind in (None, ","):
                kind = "and"
            elif token.text.casefold() in _OR and token.kind == "word" and kind in (None, ","):
                kind = "or"
            else:
                break
            self.place += 1
        if kind is None or trails(self.tokens[self.place :]):
            self.place = place
            return None
        return kind

    def item(self) -> Statement:
        label = self.label("=", "~", "in")
        if not label and self.symbol("(", ahead=1) and self.tokens[self.place].text.isupper():  # the point A(1, 2)
            label, self.place = self.text(), self.place + 1
            if (container := self.container()) is not None:
                return container._replace(label=label)
            label, self.place = "", self.place - 1
        if (container := self.container()) is not None:
            return container._replace(label=label)
        if self.symbol(*_RELATIONS):
            return Statement("relation", (("letter", ""), self.take(), self.side()))
        sides: list[str | Node] = [self.side()]
        signs: set[str] = set()
        while self.symbol("=", "~", *_RELATIONS, ":"):
            signs.add(self.text())
            sign = self.take()
            if sign in ("=", "~") and self.is_label():
                label = label or self.label("")
                continue
            sides += [sign, self.side()]
        return _chain(sides, signs, label)

    def take(self) -> str:
        self.place += 1
        return self.tokens[self.place - 1].text

    def side(self) -> Node:
        node, self.place = parse(self.tokens, self.place)
        return node

    def container(self) -> Statement | None:
        """A tuple, set or interval: brackets around items with separators between them, as far as the closing one."""
        opening = self.text()
        if not self.symbol(*_CONTAINERS):
            return None
        end, commas = self.closing(opening)
        if end is None or not commas:
            return None
        inner = _Reader(self.tokens[:end], self.place + 1)
        content = inner.list()
        if inner.place != end or content.kind != "list":
            raise Unreadable("a container that is not understood")
        self.place = end + 1
        kind = "{}" if opening in ("{", "{.") else opening + self.tokens[end].text
        return Statement(kind, content.parts)

    def closing(self, opening: str) -> tuple[int | None, bool]:
        depth, commas = 0, False
        for place in range(self.place, len(self.tokens)):
            text = self.tokens[place].text
            if self.tokens[place].kind != "symbol":
                continue
            if text in ("(", "[", "{", "{.") or (text == "<" == opening and place == self.place):
                depth += 1
            elif text in (")", "]", "}", ".}") or (text == ">" and opening == "<" and depth == 1):
                depth -= 1
                if depth == 0:
                    return (place, commas) if text in _CONTAINERS[opening] else (None, False)
            elif text in _SEPARATORS and depth == 1:
                commas = True
        return None, False

    def label(self, *signs: str) -> str:
        """Step over a name and the sign behind it, such as "∠ABC =" or "S_1 =", and give its spelling; "" without one.
        A sign of "" is the end."""
        place = self.place
        while place < len(self.tokens) and _letter_of(self.tokens[place]):
            place += 1
        sign = self.tokens[place].text if place < len(self.tokens) else ""
        named = self.tokens[self.place : place]
        if sign not in signs or not _NAME.fullmatch("".join(map(_letter_of, named))):
            return ""
        self.place = place + (1 if sign else 0)
        if sign:
            self.label(*signs)  # "AB = BC = 12"
        return spelling([token._replace(gap=False) for token in named if token.text not in ("m", "angle", "{", "}")])

    def is_label(self) -> bool:
        place = self.place
        found = bool(self.label(""))
        self.place = place
        return found


def _chain(sides: list, signs: set[str], label: str) -> Statement:
    if signs & _RELATIONS:
        if signs - _RELATIONS:
            raise Unreadable("equal and unequal")
        return Statement("relation", ((("letter", label), "=") if label else ()) + tuple(sides))
    if ":" in signs:
        if signs != {":"}:
            raise Unreadable("a ratio and an equation")
        return Statement("ratio", tuple(sides[::2]), label)
    nodes = [_without_things(node) for node in sides[::2]] if len(sides) > 1 or _computes(sides[0]) else sides
    plain = [node for node in nodes if is_numeric(node)]
    if len(nodes) > 1 and not label and len(plain) < len(nodes):
        return Statement("equation", (nodes[0], nodes[-1]))
    for before, behind in zip(plain, plain[1:], strict=False):  # of C = 2πr = 12π the last
        if not _consistent(before, behind):
            raise Unreadable("an equation that does not hold")
    return Statement("value", tuple(nodes), label)


def _consistent(a: Node, b: Node) -> bool:
    """Whether two sides can be one value: equal, or one the decimal rounding of the other. True where they are too
    hard to tell."""
    try:
        x, y = evaluate(a), evaluate(b)
    except NotExact:
        return True
    except Undefined:
        return False
    (unit_x, x), (unit_y, y) = x.measured_in(), y.measured_in()
    if unit_x and unit_y and unit_x != unit_y:
        return False
    return close(x, y) or _rounded(x, y) or _rounded(y, x)


def _rounded(exact: Exact, decimal: Exact) -> bool:
    value, number = exact.decimal(), decimal.fraction
    if value is None or number is None:
        return False
    places = next((n for n in range(1, 13) if (number * 10**n).denominator == 1), None)
    whole = number.denominator == 1
    return not whole and places is not None and abs(float(value) - float(number)) < 10.0**-places


def _computes(node: Node) -> bool:
    return node[0] in ("add", "sub") or (node[0] == "mul" and node[2][0] == "thing" and _computes(node[1]))


def _without_things(node: Node) -> Node:
    if node[0] == "mul" and node[2][0] == "thing":
        return _without_things(node[1])
    return (node[0], *(_without_things(p) if isinstance(p, tuple) and p and isinstance(p[0], str) else p
                       for p in node[1:]))  # fmt: skip


# Names, by a letter for each token (`_letter_of`): x, S_1, AB, ∠ABC, m∠1, f(2), sin A, |AB|, (x, y), AB:BC.
_ITEM = r"(?:w?k+(?:n|\{?[wug]+'*\}?)|[wug]'*(?:_(?:[wugn]|\{[wugkn,']+\}))?'*)"
_NAME = re.compile(
    rf"{_ITEM}|k*\{{{_ITEM}\}}|\|{_ITEM}\||\({_ITEM}(?:,{_ITEM})+\)|{_ITEM}(?::{_ITEM})+|f+{_ITEM}"
    rf"|(?:w|f)\((?:{_ITEM}|n)(?:,(?:{_ITEM}|n))*\)"
)
_FIGURES = frozenset("angle triangle odot overline overarc widehat frown arc vec square".split())


def _letter_of(token: Token) -> str:
    """What a token may be in a name: a letter (w), letters (u), Greek (g), a function (f), a mark of a figure (k), a
    number (n) or a sign of its own; "" where no name holds it."""
    if token.kind == "number":
        return "n"
    if token.text in FUNCTIONS:
        return "f"
    if token.text in _FIGURES:
        return "k"
    if token.kind == "word":
        return ("w" if len(token.text) == 1 else "u") if is_name(token.text) else ""
    return "g" if token.text in GREEK else token.text if token.text in tuple("_{}()|',:") else ""
