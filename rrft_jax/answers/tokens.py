"""Plain text (`markup.plain`) as tokens of mathematics and words, in one spelling: "≥", "\\geq" and ">=" are one."""

import re
from fractions import Fraction
from typing import NamedTuple


class Unreadable(ValueError):
    """A text, or a part of it, that is not understood."""


class Token(NamedTuple):
    """kind: "number", "word" (letters), "symbol" (an operator, a bracket or a command by its name without backslash).

    gap: whether space stands before it. start: its place in the text. value: of a number.
    """

    kind: str
    text: str
    gap: bool
    start: int = 0
    value: Fraction = Fraction(0)


_MAX_DIGITS = 60
_MAX_TOKENS = 300
# Groups of three are taken whole or not at all (++): backtracking over them would cost cubic time.
_NUMBER = (
    r"(?:\d{1,3}(?:,\d{3})++(?!,?\d)|\d{1,3}(?:'\d{3})++(?!'?\d)|[1-9]\d{0,2}(?: \d{3})++(?! ?\d)|\d+)"
    r"(?:\.\d+|\.(?!\d))?|\.\d+"
)
_TOKEN = re.compile(
    rf"""(?P<space>\s+)
    |(?P<number>(?:{_NUMBER.replace(" ", "[ ]")})(?:[eE][-+]?\d+(?![\w.]))?)
    |\\(?P<command>[A-Za-z]+)
    |(?P<currency>US\$|(?:USD|EUR|GBP)(?=\s?\d))
    |(?P<word>[A-Za-z\u00c0-\u024f]+|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]+|[\u0400-\u04ff]+|[^\W\d_])
    |(?P<symbol>\\[{{}}|\\]|\+/-|\*\*|<=|>=|!=|==|=>|->|\|\||[^\s])""",
    re.VERBOSE,
)
_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma",
    "τ": "tau", "φ": "phi", "ϕ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega", "Δ": "Delta", "Γ": "Gamma", "Θ": "Theta",
    "Λ": "Lambda", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
GREEK = frozenset(_GREEK.values()) | {"varepsilon", "vartheta", "varphi", "varrho", "varsigma"}
_SYMBOLS = {
    "×": "*", "✕": "*", "✖": "*", "⨯": "*", "·": "*", "⋅": "*", "•": "*", "∙": "*", "・": "*", "∗": "*", "÷": "/",
    "−": "-", "**": "^", "∞": "infinity", "√": "sqrt", "∛": "cbrt", "∜": "fourthroot", "≤": "<=", "≦": "<=", "⩽": "<=",
    "≥": ">=", "≧": ">=", "⩾": ">=", "≠": "!=", "≈": "~", "≃": "~", "≅": "~", "≒": "~", "∼": "~", "≐": "~", "±": "pm",
    "+/-": "pm", "∓": "mp", "∠": "angle", "∡": "angle", "△": "triangle", "▵": "triangle", "∆": "triangle", "⊙": "odot",
    "⊥": "perp", "∥": "parallel", "∪": "cup", "∩": "cap", "∈": "in", "∉": "notin", "∅": "emptyset", "ø": "emptyset",
    "∫": "int", "∑": "sum", "∏": "prod", "⌊": "lfloor", "⌋": "rfloor", "⌈": "lceil", "⌉": "rceil", "→": "to",
    "->": "to", "⇒": "implies", "=>": "implies", "∴": "therefore", "∧": "wedge", "∨": "vee", "\\{": "{.", "\\}": ".}",
    "\\|": "|", "||": "|", "‖": "|", "∣": "|", "‰": "permille", "∝": "propto", "⊂": "subset", "⊆": "subseteq",
    "ℝ": "R", "⌒": "frown", "US$": "$", "USD": "$", "EUR": "€", "GBP": "£",
}  # fmt: skip
_COMMANDS = {
    "times": "*", "cdot": "*", "ast": "*", "bullet": "*", "div": "/", "leq": "<=", "le": "<=", "leqslant": "<=",
    "geq": ">=", "ge": ">=", "geqslant": ">=", "neq": "!=", "ne": "!=", "lt": "<", "gt": ">", "approx": "~",
    "simeq": "~", "doteq": "~", "infty": "infinity", "lvert": "|", "rvert": "|", "vert": "|", "mid": "|",
    "lbrace": "{.", "rbrace": ".}", "langle": "<", "rangle": ">", "lbrack": "[", "rbrack": "]", "lparen": "(",
    "rparen": ")",
    "bigtriangleup": "triangle", "measuredangle": "angle", "varnothing": "emptyset", "rightarrow": "to",
    "Rightarrow": "implies", "dots": "...", "ldots": "...", "cdots": "...", "prime": "'", "colon": ":", "percent": "%",
    "varpi": "pi", "dollar": "$", "euro": "€", "pounds": "£", "land": "wedge", "lor": "vee", "tan": "tan", "tg": "tan",
    "ctg": "cot", "arctg": "arctan",
}  # fmt: skip


def tokenize(text: str) -> list[Token]:
    """The tokens of a plain text. Unreadable for one of more than 300, a number of more than 60 digits or an exponent
    beyond 99."""
    tokens: list[Token] = []
    gap = False
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or "symbol"
        word = found[kind]
        if kind == "space":
            gap = True
            continue
        if len(tokens) == _MAX_TOKENS:
            raise Unreadable("too long")
        if kind == "number":
            tokens.append(Token("number", word, gap, found.start(), _value(word)))
        elif kind == "word" and word not in _GREEK and word not in _SYMBOLS:
            tokens.append(Token("word", word, gap, found.start()))
        else:
            names = _COMMANDS if kind == "command" else _SYMBOLS
            tokens.append(Token("symbol", names.get(word, _GREEK.get(word, word)), gap, found.start()))
        gap = False
    return tokens


def spelling(tokens: list[Token]) -> str:
    """One text for tokens that say the same: no space but between what would otherwise run together."""
    pieces = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before and before.kind != "symbol" and token.kind != "symbol" and token.gap:
            pieces.append(" ")
        if token.kind == "number":
            pieces.append(_plain(token))
        else:
            pieces.append(token.text.casefold() if token.kind == "word" else token.text)
    return "".join(pieces)


def _value(text: str) -> Fraction:
    mantissa, _, exponent = text.lower().partition("e")
    mantissa = mantissa.replace(",", "").replace("'", "").replace(" ", "").rstrip(".")
    if len(mantissa) > _MAX_DIGITS or len(exponent) > 3 or abs(int(exponent or 0)) > 99:
        raise Unreadable("a number too long")
    return Fraction(mantissa) * Fraction(10) ** int(exponent or 0)


def _plain(token: Token) -> str:
    value = token.value
    return str(value.numerator) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"
