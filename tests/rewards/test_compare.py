import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.rewards.compare import choice, decide, number

RIGHT = [
    ("4", "4"), ("5.0", "5"), ("04", "4"), ("4.", "4"), ("$4$", "4"), ("4", "$4$"), ("**4**", "4"), ("\\boxed{4}", "4"),
    ("1,200", "1200"), ("1/2", "0.5"), ("\u22124", "-4"), ("2e3", "2000"),
    ("4 apples", "4"), ("There are 4.", "4"), ("10 cm", "10"), ("10 cm²", "10"),
    ("(B)", "B"), ("b", "B"), ("B.", "B"), ("B. 2", "B"), ("B) 2", "B"), ("(B) 2 cm", "B"), ("B. A circle", "B"),
    ("The answer is B", "B"), ("Answer: (C)", "C"), ("\\text{B}", "B"), ("yes", "Yes"),
]  # fmt: skip
WRONG = [
    ("", "4"), ("5", "4"), ("-4", "4"), ("40", "4"), ("four", "4"), ("nan", "4"), ("inf", "4"), ("3 or 4", "4"),
    ("1, 2, 3, 4", "4"), ("3 4", "4"), ("4 and 5", "4"), ("4%", "4"), ("400%", "4"),
    ("1000001", "1000000"), ("A", "B"), ("A or B", "B"), ("A. B", "A"), ("(a), (b)", "A"), ("BC", "B"),
    ("the answer is a circle", "A"), ("red", "metal"),
]  # fmt: skip
FRACTIONS = st.fractions(-(10**9), 10**9, max_denominator=10**6)  # numbers of over 30 digits are not read
UNDECIDED = [("4x", "4"), ("x-4", "4"), ("5-1=4", "4"), ("2\\sqrt{3}", "\\sqrt{12}"), ("1e999999999", "4")]


@pytest.mark.parametrize("answer, gold", RIGHT)
def test_equal(answer, gold):
    assert decide(answer, gold) is True


@pytest.mark.parametrize("answer, gold", WRONG)
def test_different(answer, gold):
    assert decide(answer, gold) is False


@pytest.mark.parametrize("answer, gold", UNDECIDED)
def test_left_to_algebra(answer, gold):
    assert decide(answer, gold) is None


@settings(deadline=None)
@given(FRACTIONS, FRACTIONS)
def test_fractions_are_read_exactly(a, b):
    assert number(f"{a.numerator}/{a.denominator}") == a
    assert number(str(a.numerator)) == a.numerator
    if a.denominator > 1 and b.denominator > 1:
        verdict = decide(f"{a.numerator}/{a.denominator}", f"{b.numerator}/{b.denominator}")
        assert verdict is (abs(a - b) < Fraction(1, 2_000_000))


@settings(deadline=None)
@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
def test_integers_are_exact_however_they_are_written(a, b):
    for text in (str(a), f"{a}.0", f"{a:,}", f" {a} .", f"${a}$", f"{a} objects"):
        assert decide(text, str(b)) is (a == b)


def test_what_is_no_number_has_no_value():
    for text in ("nan", "inf", "-Infinity", "1/0", ".", "", "1e999", "4 5", "١٢x"):
        assert number(text) is None


@settings(max_examples=100, deadline=None)
@given(st.text("4.,-+*/=$\\{}()ABor²π½\n \u0664", max_size=30))
def test_any_text_gets_a_verdict(text):
    for gold in ("4", "B", "metal", "\\frac{1}{2}"):
        assert decide(text, gold) in (True, False, None)
    assert choice(text) in ("A", "B", "C", "D", None)


def test_long_texts_cost_linear_time():
    start = time.perf_counter()
    for text in (" " * 5000 + "4$", "-" * 5000 + "4", "answer" + " " * 5000, "a " * 3000, "1," * 3000, "(" * 5000):
        for gold in ("4", "A", "x"):
            decide(text, gold)
    assert time.perf_counter() - start < 0.5
