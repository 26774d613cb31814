"""The exact value of an expression, or its LaTeX for algebra where it has none."""

import math
from fractions import Fraction

from rrft_jax.answers.exact import THING, UNIT, Exact, NotExact, Undefined, letter, rational
from rrft_jax.answers.expression import Node
from rrft_jax.answers.tokens import GREEK

_MAX_FACTORIAL = 170


def evaluate(node: Node) -> Exact:
    """The exact value of an expression. NotExact where only algebra can decide, Undefined where it has no value."""
    match node:
        case ("number", value):
            return rational(value)
        case ("letter", name):
            return letter(name)
        case ("unit", pairs):
            value = rational(1)
            for name, exponent in pairs:
                value = value * letter(UNIT + name) ** Fraction(exponent)
            return value
        case ("thing", noun):
            return letter(THING + noun.removesuffix("s"))
        case ("neg", a):
            return -evaluate(a)
        case ("add", a, b):
            return evaluate(a) + evaluate(b)
        case ("sub", a, b):
            return evaluate(a) - evaluate(b)
        case ("mul", a, b):
            return evaluate(a) * evaluate(b)
        case ("div", a, b):
            return evaluate(a) / evaluate(b)
        case ("pow", a, b):
            return _power(evaluate(a), evaluate(b).fraction)
        case ("root", degree, a):
            return _power(evaluate(a), Fraction(1, degree))
        case ("percent", a):
            return evaluate(a) * rational(Fraction(1, 100))
        case ("abs", a):
            return _absolute(evaluate(a))
        case ("factorial", a):
            return _factorial(evaluate(a).fraction)
        case ("function", *_):
            raise NotExact("a function")
    raise TypeError(f"no such node: {node[0]}")


def as_latex(node: Node) -> str:
    """The expression in LaTeX that leaves no doubt about what belongs together; units and things are left out."""
    match node:
        case ("number", value):
            above, below = value.numerator, value.denominator
            return str(above) if below == 1 else f"\\frac{{{above}}}{{{below}}}"
        case ("letter", name):
            return _name(name)
        case ("mul", a, ("unit", (("°", 1),))):
            return f"{_grouped(a)}\\cdot \\frac{{\\pi}}{{180}}"
        case ("mul", a, ("unit" | "thing", _)):
            return as_latex(a)
        case ("neg", a):
            return f"-{_grouped(a)}"
        case ("add", a, b):
            return f"{as_latex(a)}+{as_latex(b) if b[0] != 'neg' else _grouped(b)}"
        case ("sub", a, b):
            return f"{as_latex(a)}-{_grouped(b)}"
        case ("mul", a, b):
            return f"{_grouped(a)}\\cdot {_grouped(b)}"
        case ("div", a, b):
            return f"\\frac{{{as_latex(a)}}}{{{as_latex(b)}}}"
        case ("pow", a, b):
            return f"{_grouped(a)}^{{{as_latex(b)}}}"
        case ("root", 2, a):
            return f"\\sqrt{{{as_latex(a)}}}"
        case ("root", degree, a):
            return f"\\sqrt[{degree}]{{{as_latex(a)}}}"
        case ("percent", a):
            return f"\\frac{{{as_latex(a)}}}{{100}}"
        case ("abs", a):
            return f"|{as_latex(a)}|"
        case ("factorial", a):
            return f"{_grouped(a)}!"
        case ("function", name, base, power, a):
            return _function(name, base, power, a)
    raise TypeError(f"no such node: {node[0]}")


def _power(base: Exact, exponent: Fraction | None) -> Exact:
    if exponent is None:
        raise NotExact("an exponent that is no rational number")
    return base**exponent


def _absolute(value: Exact) -> Exact:
    number = value.decimal()
    if number is None:
        raise NotExact("the size of an unknown")
    return -value if number < 0 else value


def _factorial(value: Fraction | None) -> Exact:
    if value is None:
        raise NotExact("the factorial of an unknown")
    if value.denominator != 1 or not 0 <= value <= _MAX_FACTORIAL:
        raise Undefined("no factorial")
    return rational(math.factorial(int(value)))


def _grouped(node: Node) -> str:
    text = as_latex(node)
    return text if node[0] in ("letter", "root", "abs") or text.isdecimal() else f"({text})"


def _name(name: str) -> str:
    if name == "infinity":
        return "\\infty "
    base, _, subscript = name.partition("_")
    text = f"\\{base} " if base in GREEK else base
    return f"{text}_{{{subscript}}}" if subscript else text


_LATEX_NAMES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "lg": "log"}


def _function(name: str, base: Node | None, power: Node | None, a: Node) -> str:
    if name == "exp":
        return f"e^{{{as_latex(a)}}}"
    base = ("number", Fraction(10)) if base is None and name == "lg" else base
    text = "\\" + _LATEX_NAMES.get(name, name)
    text += f"_{{{as_latex(base)}}}" if base else ""
    text += f"^{{{as_latex(power)}}}" if power else ""
    return f"{text}({as_latex(a)})"
