"""What a text states: a value, a tuple, a set, a relation. Everything in it is read, or it states nothing.

A statement is (kind, parts, label):
    "value"     parts: expressions that are one value ("3 + 1 = 4"), the last one the answer; label: "x" of "x = 4"
    "equation"  parts: the two sides, the left one more than a name ("2x = 4")
    "relation"  parts: expressions and signs in turn ("1 < x <= 2")
    "ratio"     parts: expressions ("3:4")
    "list", "or", or the brackets of a container such as "()", "[)", "{}"   parts: statements
"""

import re
from fractions import Fraction
from typing import NamedTuple

from rrft_jax.answers import vocabulary
from rrft_jax.answers.conclusion import conclusion
from rrft_jax.answers.evaluate import evaluate
from rrft_jax.answers.exact import Exact, NotExact, Undefined, close
from rrft_jax.answers.expression import FUNCTIONS, Node, parse
from rrft_jax.answers.framing import is_name, lead_in, trails
from rrft_jax.answers.measures import is_numeric
from rrft_jax.answers.tokens import GREEK, Token, Unreadable, spelling, tokenize
from rrft_jax.answers.units import LETTERS


class Statement(NamedTuple):
    kind: str
    parts: tuple
    label: str = ""


_OPERATORS = tuple(
    (re.compile(pattern, re.IGNORECASE), sign)
    for pattern, sign in (
        (r"(?<![\w\\])plus or minus\b", " ± "),
        (r"(?<![\w\\])(?:minus|negative)\s+(?=[\d\\√(π∞]|infinity|pi\b)|负(?=[\d∞])", " -"),
        (r"(?<![\w\\])plus\b", " + "),
        (r" (?:raised )?to the power (?:of )?(?=[-\d({])", "^"),
        (r"(?<=\b[A-Za-z] )is (?:at least|(?:greater|more|larger) than or equal to)\b", ">="),
        (r"(?<=\b[A-Za-z] )is (?:at most|(?:less|smaller) than or equal to)\b", "<="),
        (r"(?<=\b[A-Za-z] )is (?:greater|more|larger) than\b", ">"),
        (r"(?<=\b[A-Za-z] )is (?:less|smaller) than\b", "<"),
        (r"(?<![\w\\])(?:times|multiplied by)\b", " * "),
        (r"(?<![\w\\])divided by\b", " / "),
        (r"(?<![\w\\])(?:equals|is equal to|leaves|gives|makes|yields)(?=\s*[-\d\\$√])|等于", " = "),
        (r"(?<=\d) is(?= [-\d\\$√])", " = "),  # "3 plus 4 is 7"; "7 is 8" does not hold
        (r"(?<![\w\\])(?:the )?square root of\b", " √"),
        (r"(?<![\w\\])(?:the )?cube root of\b", " ∛"),
        (r"(?<![\w\\])per\s?cent\b", " percent "),
        (r"(?<=\d) and a half\b", " 1/2"),
        (r"百分之(\d+(?:\.\d+)?)", r"\1%"),
    )
)
_WORDY = re.compile(r"[A-Za-z]{3}|\d is |[\u3400-\u9fff]|per ?cent")
_QUANTITY = re.compile(r"\d|∞|infinity|infty|\bpi\b|π")
_NEW_EQUATION = re.compile(r"[,;]?\n(?=(?:∠|\\angle )?\\?[A-Za-z]\w{0,9}\s?=)")
_IN_WORDS = "|".join(sorted((w for w in (*vocabulary.CARDINALS, "hundred", "thousand") if w.isascii()), reverse=True))
_IN_WORDS = f"((?:(?:{_IN_WORDS})[- ])*(?:{_IN_WORDS})|[零一二三四五六七八九十百]+)"
_GLOSS = re.compile(rf"(?<!\w){_IN_WORDS} ?个?\s?\((\d+)\)|\b(\d+)\s?\({_IN_WORDS}\)", re.IGNORECASE)
_SEPARATORS = frozenset({",", ";", "、", "&"})
_AND = frozenset({"and", "und", "et", "和", "与"})
_OR = frozenset({"or", "oder", "ou", "或", "或者"})
_RELATIONS = frozenset({"<", ">", "<=", ">=", "!="})
_CONTAINERS = {"(": ")]", "[": "])", "{": "}", "{.": (".}",), "<": ">"}


def read_statement(text: str) -> Statement:
    """The statement of a text, its markup and surrounding words taken off. Unreadable where any of it is not known."""
    text = _with_signs(conclusion(text))
    return _without_remark(text) or _read(text)


def _read(text: str) -> Statement:
    tokens = tokenize(_NEW_EQUATION.sub(", ", text))
    if not tokens or [token.text for token in tokens[:2]] == ["0", "x"]:
        raise Unreadable("empty, or a hexadecimal number")
    reader = _Reader(tokens, lead_in(tokens))
    return reader.whole()


def _without_remark(text: str) -> Statement | None:
    """The value before brackets that say it once more: "3/4 (0.75)", "7 (3 + 4 = 7)"."""
    value, _, remark = text.removesuffix(".").rpartition(" (")
    if not value or not remark.endswith(")"):
        return None
    try:
        stated, again = _read(value), _read(remark[:-1])
    except Unreadable:
        return None
    return stated if _repeats(stated, again) else None


def _repeats(stated: Statement, again: Statement, exactly: bool = False) -> bool:
    """Whether two statements are one number, one of them a rounded decimal at most unless `exactly`."""
    if not stated.kind == again.kind == "value" or again.label not in ("", stated.label):
        return False
    x, y = stated.parts[-1], again.parts[-1]
    if not is_numeric(x) or not is_numeric(y):
        return False
    try:
        return close(evaluate(x), evaluate(y)) if exactly else _consistent(x, y, unknown=False)
    except (NotExact, Undefined):
        return False


def _with_signs(text: str) -> str:
    """With signs for the words of arithmetic, and without a number repeated in words: "four (4)"."""
    if not _WORDY.search(text) or not _QUANTITY.search(text):
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
    for word in re.split("[- ]", words.casefold()) if words.isascii() else words:
        if word == "thousand":
            total, part = total + 1000 * (part or 1), 0
        elif word in "百十":
            total, part = total + (100 if word == "百" else 10) * (part or 1), 0
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
        if kinds == {"or"} and all(_repeats(items[0], item, exactly=True) for item in items):
            return items[0]  # "3/4 or 0.75"
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
        """What stands between two separators. One with a ± is the set of its two values."""
        start, tokens = self.place, self.tokens
        end = next((i for i in range(start, len(tokens)) if _separates(tokens[i])), len(tokens))
        if all(token.text != "pm" for token in tokens[start:end]):
            return self.single()
        both, ends = [], set()
        for sign in "+-":
            self.tokens = [token._replace(text=sign) if token.text == "pm" else token for token in tokens]
            self.place = start
            both.append(self.single())
            ends.add(self.place)
        self.tokens = tokens
        signs = sum(token.text == "pm" for token in tokens[start : self.place])
        if signs > 1 or len(ends) > 1 or {one.kind for one in both} != {"value"}:
            raise Unreadable("a ± that is not understood")
        return Statement("{}", tuple(both)) if signs else both[0]

    def single(self) -> Statement:
        label = self.label("=", "~", "in")
        if not label and self.symbol("(", ahead=1) and self.tokens[self.place].text.isupper():  # the point A(1, 2)
            label, self.place = self.text(), self.place + 1
            if (container := self.container()) is not None:
                return container._replace(label=label)
            label, self.place = "", self.place - 1
        if (container := self.condition() or self.container()) is not None:
            return container._replace(label=label)
        if self.symbol(*_RELATIONS):
            return Statement("relation", (("letter", ""), self.take(), self.side()))
        sides: list[str | Node] = [self.side()]
        signs: set[str] = set()
        while self.symbol("=", "~", *_RELATIONS, ":"):
            signs.add(self.text())
            if self.follows_a_loose_letter() and (label or len(sides) > 1):
                raise Unreadable("two equations side by side")  # "x = 2 y = 3"
            sign = self.take()
            if sign in ("=", "~") and self.is_label():
                label = label or self.label("")
                continue
            sides += [sign, self.side()]
        return _chain(sides, signs, label)

    def follows_a_loose_letter(self) -> bool:
        named = self.tokens[self.place - 1]
        begins = self.place - 1 - (self.tokens[self.place - 2].text == "angle")  # "∠A = 2 ∠B = 3"
        number = self.tokens[max(begins - 1, 0)]
        return number.kind == "number" and named.kind == "word" and self.tokens[begins].gap and is_name(named.text)

    def take(self) -> str:
        self.place += 1
        return self.tokens[self.place - 1].text

    def side(self) -> Node:
        node, self.place = parse(self.tokens, self.place)
        return node

    def condition(self) -> Statement | None:
        """What a set such as {x | x > 3} says of its elements."""
        if not self.symbol("{", "{.") or not self.symbol("|", ":", ahead=2):
            return None
        end, _ = self.closing(self.text())
        if end is None:
            return None
        name = self.text(1)
        inner = _Reader(self.tokens[:end], self.place + 3)
        content = inner.list()
        says = content.parts if content.kind in ("list", "or") else (content,)
        about = all(one.kind == "relation" and ("letter", name) in one.parts for one in says)
        if not about or inner.place != end:
            raise Unreadable("a set that is not understood")
        self.place = end + 1
        return content

    def container(self) -> Statement | None:
        """A tuple, set or interval: brackets around items with separators between them, as far as the closing one."""
        opening = self.text()
        if not self.symbol(*_CONTAINERS):
            return None
        end, commas = self.closing(opening)
        if end is None or not commas:
            return None
        inner = _Reader(self.tokens[: self.place + 1] + _apart(self.tokens[self.place + 1 : end]), self.place + 1)
        content = inner.list()
        if inner.place != len(inner.tokens) or content.kind != "list":
            raise Unreadable("a container that is not understood")
        self.place = end + 1
        kind = "{}" if opening in ("{", "{.") else opening + self.tokens[end].text
        return Statement(kind, content.parts)

    def closing(self, opening: str) -> tuple[int | None, bool]:
        depth, commas = 0, False
        for place in range(self.place, len(self.tokens)):
            text = self.tokens[place].text
            if self.tokens[place].kind != "symbol":
                commas = commas or (depth == 1 and "," in text and self.is_alone(place))
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

    def is_alone(self, place: int) -> bool:
        """Whether a number is all that stands between two brackets or commas, but for its sign."""
        around = [self.tokens[i].text for i in (place - 1, place + 1) if i < len(self.tokens)]
        return all(text in ("-", "(", ")", "[", "]", "{", "}", "{.", ".}") or text in _SEPARATORS for text in around)

    def label(self, *signs: str) -> str:
        """Step over a name and the sign behind it, such as "∠ABC =" or "S_1 =", and give its spelling; "" without one.
        A sign of "" is the end."""
        place = self.place
        while place < len(self.tokens) and _letter_of(self.tokens[place]):
            place += 1
        sign = self.tokens[place].text if place < len(self.tokens) else ""
        named = self.tokens[self.place : place]
        if sign == "°" and place + 1 < len(self.tokens) and self.tokens[place + 1].text in signs:  # "x° = 60°"
            place, sign = place + 1, self.tokens[place + 1].text
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


def _separates(token: Token) -> bool:
    return token.text in _SEPARATORS or token.text.casefold() in _AND | _OR


def _apart(inside: list[Token]) -> list[Token]:
    """What brackets hold. Where no comma in them has space behind it, 5,120 is two numbers and not thousands."""
    if any(a.text in _SEPARATORS and b.gap for a, b in zip(inside, inside[1:], strict=False)):
        return inside
    found: list[Token] = []
    for token in inside:
        first, *others = token.text.rstrip(".").split(",") if token.kind == "number" else [token.text]
        found.append(token._replace(text=first, value=Fraction(first)) if others else token)
        for other in others:
            found += [Token("symbol", ",", False), Token("number", other, False, 0, Fraction(other))]
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
    nodes = [node for node in nodes if not (label and _may_vary(node) and node[2] not in nodes[-1])]
    plain = [node for node in nodes if is_numeric(node)]
    if len(nodes) > 1 and not label and len(plain) < len(nodes):
        return Statement("equation", (nodes[0], nodes[-1]))
    for before, behind in zip(plain, plain[1:], strict=False):  # of C = 2πr = 12π the last
        if not _consistent(before, behind):
            raise Unreadable("an equation that does not hold")
    return Statement("value", tuple(nodes), label)


def _may_vary(node: Node) -> bool:
    """Whether a unit may as well be a variable: the side s in P = 4s = 16."""
    return node[0] == "mul" and node[2][0] == "unit" and len(node[2][1]) == 1 and node[2][1][0][0] in LETTERS


def _consistent(a: Node, b: Node, unknown: bool = True) -> bool:
    """Whether two sides can be one value: equal, or one the decimal rounding of the other. `unknown` where they are too
    hard to tell."""
    try:
        x, y = evaluate(a), evaluate(b)
    except NotExact:
        return unknown
    except Undefined:
        return False
    (unit_x, x), (unit_y, y) = x.measured_in(), y.measured_in()
    if unit_x and unit_y and unit_x != unit_y:
        return False
    return close(x, y) or _rounded(x, y) or _rounded(y, x)


def _rounded(exact: Exact, decimal: Exact) -> bool:
    value, number = exact.decimal(), decimal.fraction
    if value is None or number is None or number.denominator == 1 or number * Fraction(value) < 0:
        return False
    unit = next((Fraction(1, 10**n) for n in range(1, 13) if (number * 10**n).denominator == 1), Fraction(0))
    return -unit / 2 <= abs(Fraction(value)) - abs(number) < unit  # rounded, or cut off


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
