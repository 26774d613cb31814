"""Exact values against sympy, which knows them another way."""

from decimal import Decimal
from fractions import Fraction

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.answers.evaluate import evaluate
from rrft_jax.answers.exact import NotExact, Undefined, close, letter, rational
from rrft_jax.answers.expression import parse
from rrft_jax.answers.tokens import Unreadable, tokenize

LEAVES = st.one_of(
    st.integers(0, 12).map(lambda n: (str(n), sympy.Integer(n))),
    st.sampled_from(
        [("0.5", sympy.Rational(1, 2)), ("π", sympy.pi), ("x", sympy.Symbol("x")), ("y", sympy.Symbol("y"))]
    ),
    st.integers(2, 60).map(lambda n: (f"√{n}", sympy.sqrt(n))),
)


def larger(parts):
    def joined(sign, operation):
        return st.tuples(parts, parts).map(lambda p: (f"({p[0][0]}){sign}({p[1][0]})", operation(p[0][1], p[1][1])))

    return st.one_of(
        joined("+", lambda a, b: a + b),
        joined("-", lambda a, b: a - b),
        joined("*", lambda a, b: a * b),
        joined("/", lambda a, b: a / b if b != 0 else sympy.nan),
        parts.map(lambda p: (f"({p[0]})^2", p[1] ** 2)),
        parts.map(lambda p: (f"-({p[0]})", -p[1])),
    )


def value(text):
    tokens = tokenize(text)
    node, end = parse(tokens)
    assert end == len(tokens)
    return evaluate(node)


@settings(max_examples=300, deadline=None)
@given(st.recursive(LEAVES, larger, max_leaves=6), st.recursive(LEAVES, larger, max_leaves=6))
def test_equal_where_sympy_finds_no_difference(a, b):
    try:
        x, y = value(a[0]), value(b[0])
    except (NotExact, Undefined):
        return
    assert value(f"({a[0]})*1") == x and (x - x) == rational(0)
    assert (x == y) == (sympy.simplify(sympy.expand(a[1] - b[1])) == 0)
    if (number := x.decimal()) is not None:
        assert abs(number - Decimal(str(sympy.N(a[1], 30)))) < Decimal("1e-15") * (1 + abs(number))


@pytest.mark.parametrize(
    "text, same",
    [
        ("√12", "2√3"), ("1/√2", "√2/2"), ("12^{1/2}", "2*3^{1/2}"), ("∛54", "3∛2"), ("√(1/2)", "√2/2"),
        ("2^{-2}", "1/4"),
        ("(1+√5)/2", "0.5+√5/2"), ("√2*√8", "4"), ("(√3+1)(√3-1)", "2"), ("5!/3!", "20"), ("|1-√2|", "√2-1"),
        ("(2x+2)/(x+1)", "2"), ("1 1/2", "3/2"), ("50%", "1/2"), ("∛(-8)", "-2"), ("√π√π", "π"), ("e^2/e", "e"),
    ],
)  # fmt: skip
def test_one_value_in_two_writings(text, same):
    assert value(text) == value(same)


@pytest.mark.parametrize("text", ["1/0", "0^0", "9^9^9", "200!", "1.5!", "2^{99999}", "0^{-1}", "(x+y+1)^{12}"])
def test_no_value(text):
    with pytest.raises(Undefined):
        value(text)


@pytest.mark.parametrize(
    "text", ["√(2+√3)", "1/(1+x)", "2^x", "√(x*y)", "sin 1", "√(-4)", "|x|", "x!", "√1000000016000000063"]
)
def test_left_to_algebra(text):
    with pytest.raises(NotExact):
        value(text)


@pytest.mark.parametrize(
    "text", ["", "2 3", "3 4/3", "(1", "1)+", "4(5)", "x2", "f(4)", "4 1 1/2", "\\frac{1}", "9" * 61, "1e100"]
)
def test_unreadable(text):
    with pytest.raises((Unreadable, AssertionError)):
        value(text)


def test_rounding_is_of_the_sixth_place_and_relative_for_small_numbers():
    def number(text):
        return rational(Fraction(text))

    assert close(number("0.333333"), number("1/3")) and not close(number("0.33333"), number("1/3"))
    assert close(number("0.30000000000000004"), number("0.3")) and not close(number("1e-7"), number("2e-7"))
    assert not close(number("1e-9"), rational(0)) and not close(number("1000001"), number("1000000"))
    assert close(value("3.141593"), value("π")) and not close(value("3.14159"), value("π"))
    assert not close(letter("x"), letter("y")) and close(letter("x"), letter("x"))
