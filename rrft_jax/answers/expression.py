"""Recursive descent over the tokens of one expression: "2√3", "\\frac{x+2}{7}", "1 1/2 cm²", "4 red cubes".

A node is a tuple of its kind and its parts:
    ("number", Fraction)  ("letter", name)  ("unit", ((name, exponent), ...))  ("thing", noun)
    ("neg" | "abs" | "factorial" | "percent", a)  ("add" | "sub" | "mul" | "div" | "pow", a, b)  ("root", degree, a)
    ("function", name, base | None, power | None, a)
`evaluate` gives them values. The grammar is stricter than LaTeX's: two numbers side by side are no product, unless
they are a mixed number.
"""

from collections.abc import Callable
from fractions import Fraction

from rrft_jax.answers import units, vocabulary
from rrft_jax.answers.measures import is_measured, is_numeric, read_thing, read_unit
from rrft_jax.answers.tokens import GREEK, Token, Unreadable

Node = tuple

FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh log ln lg exp asin acos atan".split()
)
_ROOTS = {"sqrt": 2, "cbrt": 3, "fourthroot": 4}
_CONSTANTS = {
    "pi": "pi",
    "Pi": "pi",
    "PI": "pi",
    "infinity": "infinity",
    "Infinity": "infinity",
    "inf": "infinity",
    "oo": "infinity",
}
_CLOSING = {"(": ")", "{": "}", "{.": ".}", "[": "]", "|": "|"}
_MAX_DEPTH = 30
_CALLED = frozenset("fghFGHPQ")  # "f(4)" is a value of f, "x(4+y)" a product


def parse(tokens: list[Token], start: int = 0) -> tuple[Node, int]:
    """The expression that begins at a token, and where it ends. Unreadable where none does."""
    parser = _Parser(tokens, start)
    return parser.sum(), parser.place


class _Parser:
    def __init__(self, tokens: list[Token], place: int):
        self.tokens, self.place, self.depth = tokens, place, 0

    # Looking at tokens.

    def peek(self, ahead: int = 0) -> Token | None:
        place = self.place + ahead
        return self.tokens[place] if place < len(self.tokens) else None

    def at(self, *texts: str, kind: str = "symbol", ahead: int = 0) -> bool:
        token = self.peek(ahead)
        return token is not None and token.kind == kind and token.text in texts

    def take(self) -> Token:
        token = self.peek()
        if token is None:
            raise Unreadable("it ends too early")
        self.place += 1
        return token

    def expect(self, text: str) -> None:
        if not self.at(text):
            raise Unreadable(f"{text} is missing")
        self.place += 1

    def attempt(self, read: Callable[[], Node | None]) -> Node | None:
        """What `read` reads, or None, with the place as it was, where it reads nothing."""
        place = self.place
        found = read()
        if found is None:
            self.place = place
        return found

    # The grammar, loosest binding first.

    def sum(self) -> Node:
        node = self.product()
        while self.at("+", "-"):
            kind = "add" if self.take().text == "+" else "sub"
            node = (kind, node, self.product())
        return node

    def product(self) -> Node:
        node = self.signed()
        while True:
            if self.at("*", "/"):
                kind = "mul" if self.take().text == "*" else "div"
                node = (kind, node, self.signed())
            elif self.at("x", "X", kind="word") and self._number_beside(node) and self._is_number(1):
                self.place += 1  # "1.2 x 10^3"
                node = ("mul", node, self.signed())
            elif not is_measured(node) and self._begins_factor(node):
                node = ("mul", node, self.power())
            else:
                measure = self.measure(node)
                if measure is None:
                    return node
                node = ("mul", node, measure)

    def signed(self) -> Node:
        if self.at("-", "–"):
            self.place += 1
            return ("neg", self.power())
        if self.at("+"):
            self.place += 1
        return self.power()

    def power(self) -> Node:
        node = self.postfixed()
        if self.at("^"):
            self.place += 1
            exponent = self.group("{") if self.at("{") else self.signed_power()
            node = ("pow", node, exponent)
            while (postfixed := self.postfix(node)) is not None:
                node = postfixed
        return node

    def signed_power(self) -> Node:
        if self.at("-"):
            self.place += 1
            return ("neg", self.power())
        return self.power()

    def postfixed(self) -> Node:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise Unreadable("nested too deeply")
        node = self.primary()
        self.depth -= 1
        while (postfixed := self.postfix(node)) is not None:
            node = postfixed
        return node

    def postfix(self, node: Node) -> Node | None:
        if self.at("!") and not self.at("=", ahead=1):
            self.place += 1
            return ("factorial", node)
        if self.at("%", "permille"):
            return ("percent", node) if self.take().text == "%" else ("div", node, ("number", Fraction(1000)))
        if self.at("percent", "pct", kind="word"):
            self.place += 1
            return ("percent", node)
        return None

    def primary(self) -> Node:
        token = self.take()
        if token.kind == "number":
            return self.number(token)
        if token.kind == "symbol":
            return self.symbol(token)
        return self.word(token)

    # What an expression is made of.

    def number(self, token: Token) -> Node:
        value = token.value + (self.repeating(token) if "." in token.text else 0)
        while (scale := self.peek()) and scale.kind == "word" and scale.text.lower() in vocabulary.SCALES:
            value *= vocabulary.SCALES[self.take().text.lower()]
        fraction = self.attempt(self._proper_fraction) if value.denominator == 1 and token.text.isdecimal() else None
        if fraction is not None:
            value += fraction[1]
        if self._is_number(0):
            raise Unreadable("two numbers side by side")
        return ("number", value)

    def repeating(self, token: Token) -> Fraction:
        """What follows the last written digit of 0.\\overline{3} or 0.333..., from which on digits repeat."""
        places = len(token.text) - token.text.index(".") - 1
        if self.at("overline", "dot", "bar") and self.at("{", ahead=1) and self.at("}", ahead=3):
            self.place += 2
            digits = self.take().text
            self.place += 1
        elif self.at(".") and self.at(".", ahead=1) and self.at(".", ahead=2) and token.text[-1] == token.text[-2]:
            digits = token.text[-1]
            self.place += 3
        elif self.at("..."):
            digits = token.text[-1] if token.text[-1] == token.text[-2] else ""
            self.place += 1
        else:
            return Fraction(0)
        if not digits.isdecimal():
            raise Unreadable("digits that do not repeat")
        return Fraction(int(digits), (10 ** len(digits) - 1) * 10**places)

    def _proper_fraction(self) -> Node | None:
        """The fraction of a mixed number: "1/2" behind a space, or \\frac{1}{2}."""
        above = self.peek()
        if above and above.kind == "number" and above.gap and self.at("/", ahead=1):
            below = self.peek(2)
            if below is None or below.kind != "number" or not (above.text + below.text).isdecimal():
                return None
            numerator, denominator = above.value, below.value
            self.place += 3
        elif self.at("frac"):
            self.place += 1
            (kind, numerator), (kind_below, denominator) = self.argument()[:2], self.argument()[:2]
            if kind != "number" or kind_below != "number":
                return None
        else:
            return None
        if not 0 < numerator < denominator:
            raise Unreadable("neither a mixed number nor clearly a product")
        return ("number", numerator / denominator)

    def symbol(self, token: Token) -> Node:
        text = token.text
        if text == "frac":
            return ("div", self.argument(), self.argument())
        if text in _ROOTS:
            return self.root(_ROOTS[text])
        if text in FUNCTIONS:
            return self.function(text)
        if text in _CONSTANTS:
            return ("letter", _CONSTANTS[text])
        if text in GREEK:
            return self.name(text)
        if text in _CLOSING:
            self.place -= 1
            node = self.group(text)
            return ("abs", node) if text == "|" else node
        if text == "angle":  # "∠AOB = 2∠ACB = 120°"
            named = self.take()
            if named.kind != "number" and not (named.text.isalpha() and named.text.isupper() and len(named.text) <= 4):
                raise Unreadable("an angle without a name")
            return ("letter", f"∠{named.text}")
        if text in units.CURRENCY:
            negative = self.at("-")
            amount = self.tokens[self.place + 1] if negative and self.peek(1) else self.take()
            self.place += 2 * negative
            if amount.kind != "number":
                raise Unreadable("a currency without an amount")
            node = ("mul", self.number(amount), ("unit", ((units.UNITS[text], 1),)))
            return ("neg", node) if negative else node
        raise Unreadable(f"{text} is not understood here")

    def group(self, opening: str) -> Node:
        self.expect(opening)
        node = self.sum()
        self.expect(_CLOSING[opening])
        return node

    def argument(self) -> Node:
        """Of \\frac: a group, or one digit or letter."""
        if self.at("{"):
            return self.group("{")
        token = self.take()
        if token.kind == "number" and token.text.isdecimal():
            if len(token.text) > 1:  # \frac12
                self.place -= 1
                rest = token.text[1:]
                self.tokens = list(self.tokens)
                self.tokens[self.place] = Token("number", rest, False, token.start, Fraction(int(rest)))
            return ("number", Fraction(int(token.text[0])))
        if token.kind == "word" and len(token.text) == 1:
            return ("letter", token.text)
        if token.text in _CONSTANTS or token.text in GREEK:
            return ("letter", _CONSTANTS.get(token.text, token.text))
        raise Unreadable("a fraction without its parts")

    def root(self, degree: int) -> Node:
        if self.at("[") and degree == 2:
            self.place += 1
            index = self.take()
            if index.kind != "number" or index.value.denominator != 1 or index.value < 2:
                raise Unreadable("a root of no whole degree")
            degree = int(index.value)
            self.expect("]")
        for opening in ("{", "("):
            if self.at(opening):
                return ("root", degree, self.group(opening))
        token = self.take()
        if token.kind == "number":
            if self._is_number(0):
                raise Unreadable("two numbers side by side")
            return ("root", degree, ("number", token.value))
        if (token.kind == "word" and len(token.text) == 1) or token.text in _CONSTANTS:
            return ("root", degree, ("letter", _CONSTANTS.get(token.text, token.text)))
        if token.text in _ROOTS or token.text == "frac":
            return ("root", degree, self.symbol(token))
        raise Unreadable("a root of what is not clear")

    def function(self, name: str) -> Node:
        base = power = None
        for _ in range(2):
            if self.at("_") and base is None:
                self.place += 1
                base = self.group("{") if self.at("{") else self.subscript()
            elif self.at("^") and power is None:
                self.place += 1
                power = self.group("{") if self.at("{") else self.signed_power()
        for opening in ("(", "{"):
            if self.at(opening):
                return ("function", name, base, power, self._with_degrees(self.group(opening)))
        argument = self.power()
        while self._begins_factor(argument) and (token := self.peek()) and token.text not in FUNCTIONS:
            argument = ("mul", argument, self.power())
        return ("function", name, base, power, self._with_degrees(argument))

    def subscript(self) -> Node:
        token = self.take()
        return ("number", token.value) if token.kind == "number" else self.word(token)

    def _with_degrees(self, node: Node) -> Node:
        if self.at("°"):
            self.place += 1
            return ("mul", node, ("unit", (("°", 1),)))
        return node

    def word(self, token: Token) -> Node:
        text = token.text
        if text in _CONSTANTS or text.lower() == "infinity":
            return ("letter", _CONSTANTS.get(text, "infinity"))
        if text.lower() in FUNCTIONS:
            return self.function(text.lower())
        if text.lower() in _ROOTS:
            return self.root(_ROOTS[text.lower()])
        if text == "abs" and self.at("("):
            return ("abs", self.group("("))
        if len(text) == 1:
            if text in _CALLED and self.at("("):
                raise Unreadable("a function that nobody knows")
            return self.name(text)
        if self._is_product(token):
            node = ("letter", text[0])
            for one in text[1:-1]:
                node = ("mul", node, ("letter", one))
            return ("mul", node, self.name(text[-1]))
        raise Unreadable(f"the word {text!r} is not understood here")

    def _is_product(self, token: Token) -> bool:
        """Whether a word is letters side by side: AB, or two or three small ones that are no word."""
        text = token.text
        if not text.isascii() or (text.isupper() and len(text) <= 4):
            return text.isascii()
        known = (vocabulary.BEFORE, vocabulary.BEHIND, vocabulary.NOUNS, vocabulary.QUANTITIES, vocabulary.CARDINALS)
        return text.islower() and len(text) <= 3 and not any(text in words for words in known)

    def name(self, text: str) -> Node:
        """A letter with its subscript and primes."""
        if self.at("_"):
            self.place += 1
            if self.at("{"):
                self.place += 1
                parts = []
                while not self.at("}"):
                    parts.append(self.take().text)
                self.place += 1
                text = f"{text}_{''.join(parts)}"
            else:
                text = f"{text}_{self.take().text}"
        while self.at("'"):
            self.place += 1
            text += "'"
        return ("letter", text)

    def measure(self, node: Node) -> Node | None:
        if is_measured(node):
            return None
        for read in (read_unit, read_thing):
            found = read(self.tokens, self.place, node)
            if found is not None:
                self.place = found[1]
                return found[0]
        return None

    # What comes next.

    def _begins_factor(self, node: Node) -> bool:
        """Whether a factor follows without a sign of multiplication."""
        token = self.peek()
        if token is None or token.kind == "number":
            if token is not None:
                raise Unreadable("a number right behind a factor")
            return False
        text = token.text
        if token.kind == "word":
            if self.peek() and units.unit_of(text) and (len(text) > 1 or is_numeric(node)):
                spaced = text not in units.SPACED_LETTERS or token.gap
                if text not in units.LETTERS or spaced:
                    return False
            if text in _CONSTANTS or text.lower() in FUNCTIONS or text.lower() in _ROOTS:
                return True
            if len(text) == 1:
                return text.isascii()
            return not token.gap and self._is_product(token)
        if text in ("(", "["):
            if self._only_number_in_brackets(node):
                raise Unreadable("a number in brackets behind a number")
            return text == "(" and read_unit(self.tokens, self.place, node) is None and not self._remark_in_brackets()
        return text in ("{", "frac", "angle") or any(text in names for names in (_ROOTS, FUNCTIONS, GREEK, _CONSTANTS))

    def _only_number_in_brackets(self, node: Node) -> bool:
        return self._number_beside(node) and self._is_number(1) and self.at(")", "]", ahead=2)

    def _remark_in_brackets(self) -> bool:
        token = self.peek(1)
        return token is not None and token.kind == "word" and len(token.text) > 1 and not self._is_product(token)

    def _number_beside(self, node: Node) -> bool:
        return node[0] == "number" or (node[0] in ("neg", "mul") and self._number_beside(node[-1]))

    def _is_number(self, ahead: int) -> bool:
        token = self.peek(ahead)
        return token is not None and token.kind == "number"
