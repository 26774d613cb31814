import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.answers.tags import (
    Answer,
    extract_answer,
    opens_thought,
    published_answer,
    published_answer_of_a_line,
    published_answers,
    reference_answer,
    split_completion,
    split_thought,
)
from tests.timing import within


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
        ("so <answer>4<answer>", Answer("4", False)),
        ("<think>maybe <answer>3</answer> but", None),
        ("<think>there are 4", None),
        ("<think>a</think>", None),
        ("", None),
        (" \n", None),
        # A tag in another case, with spaces, cut off at the end, stray, or out of order.
        ("<Think>a</THINK>< Answer >4</ answer>", Answer("4", True)),
        ("<think>a</think><answer>4</answer", Answer("4", True)),
        ("<think>a</think><answer>4</ans", Answer("4", True)),
        ("<think>a</think><answer>4</answer><|im_end|>", Answer("4", True)),
        ("<answer>4</answer>\n</think>", Answer("4", True)),
        ("<think>a</think><answer>4</answer></think></answer>", Answer("4", True)),
        ("<answer>4</answer><think>why</think>", Answer("4", True)),
        ("<answer>4</answer><think>cut off", Answer("4", True)),
        ("<answer>3</answer> hm</think>", None),
        ("<think>a <answer>3</answer></think>", None),
        ("<answer><think>it is 4</think></answer>", Answer("", True)),
        ("<think>a<think>b</think><answer>4</answer>", Answer("4", True)),
    ],
)
def test_the_default_reads_the_final_commitment(text, found):
    assert extract_answer(text) == found


@pytest.mark.parametrize(
    "text, found",
    [
        ("<think>maybe <answer>3</answer></think><answer>4</answer>", Answer("3", True)),
        ("<think>a</think><answer>3</answer> <answer>4</answer>", Answer("3", True)),
        ("<Answer>4</Answer>", Answer("<Answer>4</Answer>", False)),
        (" <think>a</think> 4 ", Answer("<think>a</think> 4", False)),
        ("", Answer("", False)),
    ],
)
def test_the_published_reading_is_the_first_pair_or_everything(text, found):
    assert published_answer(text) == found


def test_a_reference_is_read_as_a_completion():
    assert reference_answer(" 4 ") == "4"
    assert reference_answer("<answer>3</answer> or <answer>4</answer>") == "4"
    assert reference_answer("<think>t</think><answer>3") == "3"
    assert reference_answer("<think>t</think>") == reference_answer("<answer></answer>") == ""


@pytest.mark.parametrize(
    "text, thought, answer",
    [
        ("5 + 4 = 9.", "5 + 4 = 9.", None),
        (" as it is \n", " as it is \n", None),
        ("<think>5 + 4 = 9.</think>\n<answer>9</answer>", "5 + 4 = 9.", Answer("9", True)),
        ("<think>5 + 4 = 9.</think>", "5 + 4 = 9.", None),
        ("5 + 4 = 9. <answer>9</answer>", "5 + 4 = 9.", Answer("9", True)),
        ("<answer>9</answer>", "", Answer("9", True)),
        ("<think>maybe <answer>3</answer>, no</think><answer>9</answer>", "maybe 3, no", Answer("9", True)),
        ("<think>t</think><answer>3", "t", Answer("3", False)),
        ("<think>t</think> so 3", "t so 3", None),
        ("one<think>two</think>three", "one two three", None),
    ],
)
def test_a_chain_of_thought_loses_its_tags_and_its_answer_and_nothing_else(text, thought, answer):
    assert split_thought(text) == (thought, answer)


def test_a_whole_completion_has_its_answer_behind_the_thought():
    assert split_completion("<think>t</think> 3") == ("t", Answer("3", False))
    assert split_completion("3") == ("", Answer("3", False))
    assert split_completion("<think>t") == ("t", None)
    assert opens_thought("< Think>t") and not opens_thought("t</think>")


TAGS = st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "< Answer>", "</answer", "4", " x ", "\n"])


@given(st.lists(TAGS, max_size=12).map("".join))
def test_no_mixture_of_tags_breaks_it(text):
    found = extract_answer(text)
    assert found is None or found.text == found.text.strip()
    thought, answer = split_thought(text)
    assert (answer is None or answer.text == answer.text.strip()) and (thought == text or "<think>" not in thought)
    assert reference_answer(text) in ("", *([found.text] if found else [text.strip()]))


@settings(max_examples=500)
@given(st.lists(TAGS, max_size=12).map("".join))
def test_the_published_readings_are_those_of_the_published_patterns(text):
    assert list(published_answers(text)) == re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)
    line = re.search(r"<answer>(.*?)</answer>", text)
    assert published_answer_of_a_line(text) == (line.group(1) if line else text)


UNITS = ["<answer>", "</answer>", "<think>", "</think>", "<answer>\n", "<answer></think>", "< ", "<|"]


@pytest.mark.parametrize("unit", UNITS)
def test_reading_tags_takes_linear_time(unit):
    for text in (unit * 20_000, unit * 20_000 + "</answer>", "<think>" + unit * 20_000 + "</think><answer>4</answer>"):
        for read in (extract_answer, split_completion, published_answer, published_answer_of_a_line):
            within(1, read, text)
