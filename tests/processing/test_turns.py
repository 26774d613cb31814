"""Conversations of several turns: where their pictures go, what is the prompt, and what the assistant says."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from rrft_jax.processing.chat import Prompt, place_pictures
from rrft_jax.processing.processor import encode_chat, encode_completion, encode_prompt, encode_replies, measure

RED, BLUE = (Image.new("RGB", size, color) for size, color in (((56, 56), "red"), ((84, 56), "blue")))
HISTORY = (("user", "How many?"), ("assistant", "<think>\nOne.\n</think> 1"))


@pytest.mark.parametrize("name", ["qwen", "nano"])
def test_a_prompt_with_a_history_is_the_chat_up_to_its_last_question(name, request):
    processor = request.getfixturevalue(name)
    for system in (None, "Count."):
        turns = [*([("system", [system])] if system else []), *((role, [text]) for role, text in HISTORY)]
        expected = encode_chat(processor, [*turns, ("user", ["And now?"])])
        got = encode_prompt(processor, "And now?", system=system, history=HISTORY)
        assert got.tokens.tolist() == expected.tokens.tolist()
        assert measure(processor, "And now?", [], system, HISTORY) == got.size


def test_pictures_go_where_their_marks_are(nano):
    history = (("user", "<image>How many?"), ("assistant", "1"))
    got = encode_prompt(nano, "And in <image>, is it more?", [RED, BLUE], history=history)
    expected = encode_chat(nano, [
        ("user", [RED, "How many?"]), ("assistant", ["1"]), ("user", ["And in ", BLUE, ", is it more?"])
    ])  # fmt: skip
    assert got.tokens.tolist() == expected.tokens.tolist()
    np.testing.assert_array_equal(got.positions, expected.positions)
    for ours, theirs in zip(got.patches, expected.patches, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert measure(nano, "And in <image>, is it more?", [(56, 56), (56, 84)], history=history) == got.size
    marked = dataclasses.replace(nano, image_mark="<image>")
    again = encode_prompt(marked, "And in <image>, is it more?", [RED, BLUE], history=history)
    assert again.tokens.tolist() == got.tokens.tolist()


def test_marks_that_are_not_as_many_as_the_pictures_are_plain_text():
    """Readers of records list those; here it is what somebody typed."""
    assert place_pictures(Prompt("What does <image> mean?"), []) == [("user", ["What does <image> mean?"])]
    assert place_pictures(Prompt("<image> or <image>?"), ["p"]) == [("user", ["p", "<image> or <image>?"])]
    assert place_pictures(Prompt("Is <image> red?"), ["p"]) == [("user", ["Is ", "p", " red?"])]
    assert place_pictures(Prompt("<image>"), ["p"]) == [("user", ["p"])]
    assert place_pictures(Prompt("a #b#", (("user", "#"), ("assistant", "#"))), ["p", "q"], "#") == [
        ("user", ["p"]), ("assistant", ["#"]), ("user", ["a ", "q", "b#"])
    ]  # fmt: skip
    assert place_pictures(Prompt("a # b"), ["p"], "#", ["film"]) == [("user", ["film", "a ", "p", " b"])]
    assert place_pictures(Prompt("a"), ["p"], films=["film"]) == [("user", ["p", "film", "a"])]
    with pytest.raises(ValueError, match="has 1 # for 2 images"):
        place_pictures(Prompt("a # b"), ["p", "q"], "#")


@pytest.mark.parametrize("name", ["qwen", "nano"])
@pytest.mark.parametrize("answers", [("1", "2"), ("\n\n1", " 2 "), ("<|im_end|>", "日本\n")])
def test_replies_are_what_follows_the_first_question(name, answers, request):
    """Together with it they are the whole conversation; each answer is tokenised as if it had been sampled."""
    processor = request.getfixturevalue(name)
    history = (("user", "Q1"), ("assistant", answers[0]), ("user", "Q2"), ("assistant", "!"))
    ids, said = encode_replies(processor, history, "Q3", answers[1])
    own = np.split(ids, np.flatnonzero(np.diff(said)) + 1)
    assert said[0] and said[-1] and len(own) == 5
    for part, text in zip(own[::2], (answers[0], "!", answers[1]), strict=True):
        np.testing.assert_array_equal(part, encode_completion(processor, text))
    opening = encode_prompt(processor, "Q1").tokens
    for part, question, before in zip(own[1::2], ("Q2", "Q3"), (1, 3), strict=True):
        asked = encode_prompt(processor, question, history=history[: before + 1]).tokens
        start = len(asked) - len(part)
        assert asked[start:].tolist() == part.tolist()
    if not answers[0].startswith("\n"):  # or the line break of the template and the answer's would be one token
        whole = encode_prompt(processor, "Q3", history=history).tokens
        assert np.concatenate([opening, ids]).tolist()[: len(whole)] == whole.tolist()


def test_a_picture_in_a_later_question_is_refused(nano):
    with pytest.raises(ValueError, match="later question holds a picture: config.sft.turns=last"):
        encode_replies(nano, (("user", "<image>Q"), ("assistant", "1")), "<image>?", "2")
    encode_replies(nano, (("user", "<image>Q"), ("assistant", "1")), "?", "2")


def test_a_prompt_is_shown_with_what_came_before():
    assert str(Prompt("Q")) == "Q"
    assert str(Prompt("Q", (("user", "a"), ("assistant", "b")), "c")) == "[system] c\n[user] a\n[assistant] b\n[user] Q"
