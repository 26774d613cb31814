import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrft_jax.rewards.extract import PAPER, Answer, extract_answer


@pytest.mark.parametrize(
    "text, found",
    [
        ("<think>a</think><answer> 4 </answer>", Answer("4", True)),
        ("<think>maybe <answer>3</answer></think><answer>4</answer>", Answer("4", True)),
        ("<think>a</think><answer>3</answer> no: <answer>4</answer>", Answer("4", True)),
        ("<think>a</think><answer>3 <answer>4</answer>", Answer("4", True)),
        ("<answer>4</answer> extra </answer>", Answer("4", True)),
        ("<think>\na\n</think>\n<answer>\n4\n</answer>", Answer("4", True)),
        ("<think>a</think><answer></answer>", Answer("", True)),
        ("4", Answer("4", False)),
        ("5 - 1 = 4</think> 4", Answer("4", False)),
        ("<think>a</think>\n4", Answer("4", False)),
        ("<think>a</think><answer>4", Answer("4", False)),
        ("<think>maybe <answer>3</answer> but", None),
        ("<think>there are 4", None),
        ("<think>a</think>", None),
        ("", None),
        (" \n", None),
    ],
)
def test_the_default_reads_the_final_commitment(text, found):
    assert extract_answer(text) == found


@pytest.mark.parametrize(
    "text, found",
    [
        ("<think>maybe <answer>3</answer></think><answer>4</answer>", Answer("3", True)),
        ("<think>a</think><answer>3</answer> <answer>4</answer>", Answer("3", True)),
        (" <think>a</think> 4 ", Answer("<think>a</think> 4", False)),
        ("", Answer("", False)),
    ],
)
def test_the_paper_options_read_the_first_pair_or_everything(text, found):
    assert extract_answer(text, **PAPER) == found


def test_without_fallback_only_tags_count():
    assert extract_answer("4", fallback="none") is None
    assert extract_answer("<answer>4</answer>", fallback="none") == Answer("4", True)
    assert extract_answer("<answer>3</answer><answer>4</answer>", which="first") == Answer("3", True)


@given(st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "4", " x "])).map("".join))
def test_no_mixture_of_tags_breaks_it(text):
    found = extract_answer(text)
    assert found is None or found.text == found.text.strip()
    assert extract_answer(text, **PAPER) is not None
