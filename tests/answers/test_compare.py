from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.answers.choices import choice
from rrft_jax.answers.compare import Undecided, decide, value_of
from tests.timing import within

RIGHT = [
    ("4", "4"), ("5.0", "5"), ("04", "4"), ("4.", "4"), ("$4$", "4"), ("4", "$4$"), ("**4**", "4"), ("\\boxed{4}", "4"),
    ("1,200", "1200"), ("1/2", "0.5"), ("\u22124", "-4"), ("2e3", "2000"),
    ("4 apples", "4"), ("There are 4.", "4"), ("10 cm", "10"), ("10 cm²", "10"),
    ("(B)", "B"), ("b", "B"), ("B.", "B"), ("B. 2", "B"), ("B) 2", "B"), ("(B) 2 cm", "B"), ("B. A circle", "B"),
    ("The answer is B", "B"), ("Answer: (C)", "C"), ("\\text{B}", "B"), ("yes", "Yes"),
]  # fmt: skip
WRONG = [
    ("4x", "4"), ("x-4", "4"), ("1e999999999", "4"),
    ("", "4"), ("5", "4"), ("-4", "4"), ("40", "4"), ("four", "4"), ("nan", "4"), ("inf", "4"), ("3 or 4", "4"),
    ("1, 2, 3, 4", "4"), ("3 4", "4"), ("4 and 5", "4"), ("4%", "4"), ("400%", "4"),
    ("1000001", "1000000"), ("A", "B"), ("A or B", "B"), ("A. B", "A"), ("(a), (b)", "A"), ("BC", "B"),
    ("the answer is a circle", "A"), ("red", "metal"),
]  # fmt: skip
FRACTIONS = st.fractions(-(10**9), 10**9, max_denominator=10**6)  # numbers of over 30 digits are not read
UNDECIDED = [
    ("\\sin^2 x", "1-\\cos^2 x"), ("\\frac{1}{1+x}", "\\frac{1-x}{1-x^2}"), ("\\binom{4}{2}", "6"), ("2^x", "8"),
]  # fmt: skip


@pytest.mark.parametrize("answer, gold", RIGHT)
def test_equal(answer, gold):
    assert decide(answer, gold) is True


@pytest.mark.parametrize("answer, gold", WRONG)
def test_different(answer, gold):
    assert decide(answer, gold) is False


@pytest.mark.parametrize("answer, gold", UNDECIDED)
def test_left_to_algebra(answer, gold):
    assert isinstance(decide(answer, gold), Undecided)


@settings(deadline=None)
@given(FRACTIONS, FRACTIONS)
def test_fractions_are_read_exactly(a, b):
    assert value_of(f"{a.numerator}/{a.denominator}") == a
    assert value_of(str(a.numerator)) == a.numerator
    if a.denominator > 1 and b.denominator > 1:
        result = decide(f"{a.numerator}/{a.denominator}", f"{b.numerator}/{b.denominator}")
        assert result is (a == b or abs(a - b) < min(Fraction(1, 2_000_000), abs(b) / 200_000))


@settings(deadline=None)
@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
def test_integers_are_exact_however_they_are_written(a, b):
    for text in (str(a), f"{a}.0", f"{a:,}", f" {a} .", f"${a}$", f"{a} objects"):
        assert decide(text, str(b)) is (a == b)


def test_what_is_no_number_has_no_value():
    for text in ("nan", "inf", "-Infinity", "1/0", ".", "", "1e999", "4 5", "١٢x", "0^0", "9^9^9", "9!!!!", "4 or 5"):
        assert value_of(text) is None


@settings(max_examples=100, deadline=None)
@given(st.text("4.,-+*/=$\\{}()ABor²π½\n \u0664", max_size=30))
def test_any_text_gets_a_result(text):
    for gold in ("4", "B", "metal", "\\frac{1}{2}"):
        assert isinstance(decide(text, gold), bool | Undecided)
    assert choice(text) in (*"ABOR", None)


def test_long_texts_cost_linear_time():
    for text in (" " * 5000 + "4$", "-" * 5000 + "4", "answer" + " " * 5000, "a " * 3000, "1," * 3000, "(" * 5000):
        for gold in ("4", "A", "x", "yes"):
            within(0.5, decide, text, gold)
            within(0.5, decide, text[-2000:], gold)


def test_the_last_sentence_of_a_long_text_may_state_the_answer():
    working = "There are more cubes. " * 200
    assert decide(working + "The answer is 4.", "4") is True
    assert decide(working + "The answer is B.", "B") is True
    assert decide(working + "There are 4.", "4") is False
    assert decide(working, working) is True
