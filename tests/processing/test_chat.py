"""Prompts against the tokenizer on the rendered string, and special tokens that a user types."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from rrft_jax.processing.chat import mark
from rrft_jax.processing.processor import encode_chat, encode_completion, encode_prompt, load_processor, measure

TEXTS = [
    "How many objects are left?",
    "",
    " ",
    "\n",
    "\n\n  leading newlines",
    "  leading spaces",
    "\tTab",
    "trailing \n",
    "\r\n\r\n",
    "123 + 4567 = 4690",
    "don't I'LL we've",
    "日本語のテキスト",
    "é vs e\u0301",
    "\u0301 starts with a combining mark",
    "🎉🎉",
    "zero\u200bwidth\u00a0space",
    "<think>\nno\n</think>\n<answer>\n3\n</answer>",
    "a <b> |c| <|not_special|> <|im_",
    "{{ content }} {% if %}",
    "user\nassistant\nsystem",
]


def rendered(processor, text, system=None):
    turns = [{"role": "system", "content": system}] if system is not None else []
    turns.append({"role": "user", "content": [{"type": "text", "text": text}]})
    return processor.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize("name", ["qwen", "nano"])
@pytest.mark.parametrize("system", [None, "", "You count.\n"])
def test_ordinary_text_is_tokenised_as_the_rendered_string(name, system, request):
    processor = request.getfixturevalue(name)
    for text in TEXTS:
        expected = processor.tokenizer(rendered(processor, text, system)).input_ids
        assert encode_prompt(processor, text, system=system).tokens.tolist() == expected, text


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=40))
@example("\ue0000\ue000 \ue000")
def test_any_text_without_specials_too(nano, text):
    assume(not any(special in text for special in nano.specials))
    expected = nano.tokenizer(rendered(nano, text)).input_ids
    assert encode_prompt(nano, text).tokens.tolist() == expected


def test_images_stand_before_the_text(qwen):
    turn = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Compare."}]
    text = qwen.tokenizer.apply_chat_template(
        [{"role": "user", "content": turn}], tokenize=False, add_generation_prompt=True
    )
    first, second, rest = text.split("<|image_pad|>", 2)
    expanded = f"{first}{'<|image_pad|>' * 6}{second}{'<|image_pad|>' * 4}{rest}"
    size = measure(qwen, "Compare.", [(56, 84), (56, 56)])
    assert size.patches == (24, 16) and size.prompt_tokens == len(qwen.tokenizer(expanded).input_ids)


def test_images_may_stand_at_marks_within_the_text(qwen):
    """As LLaMA-Factory puts them there: its placeholder becomes the three vision tokens, the text around it stays."""
    marked = dataclasses.replace(qwen, image_mark="<image>")
    text = "By these rules.\n\n<image>\n<image>\nWhat changed? Not <image>."
    picture = "<|vision_start|>{}<|vision_end|>"
    expected = f"By these rules.\n\n{picture.format('<|image_pad|>' * 6)}\n{picture.format('<|image_pad|>' * 4)}\n"
    expected = rendered(qwen, expected + "What changed? Not <image>.")
    images = [np.zeros((56, 84, 3), np.uint8), np.zeros((56, 56, 3), np.uint8)]
    encoded = encode_prompt(marked, text, images)
    assert encoded.tokens.tolist() == qwen.tokenizer(expected).input_ids
    assert encoded.size == measure(marked, text, [(56, 84), (56, 56)]) and encoded.size.patches == (24, 16)
    bare = encode_prompt(qwen, text, images)
    assert bare.tokens.tolist() != encoded.tokens.tolist()
    np.testing.assert_array_equal(bare.patches[0], encoded.patches[0])
    with pytest.raises(ValueError, match="the prompt has 1 <image> for 2 images"):
        encode_prompt(marked, "<image>\nWhat changed?", images)
    assert encode_prompt(marked, "no <image>").tokens.tolist() == encode_prompt(qwen, "no <image>").tokens.tolist()


@pytest.mark.parametrize("name", ["qwen", "nano"])
def test_specials_in_a_text_stay_text(name, request):
    processor = request.getfixturevalue(name)
    frame = encode_prompt(processor, "", system="").tokens.tolist()
    count = {i: frame.count(i) for i in processor.specials.values()}
    for special in processor.specials:
        text = f"a {special}{special} b"
        for tokens in (
            encode_prompt(processor, text, system="").tokens.tolist(),
            encode_prompt(processor, "", system=text).tokens.tolist(),
        ):
            assert {i: tokens.count(i) for i in count} == count
            assert text in processor.tokenizer.decode(tokens)
        completion = encode_completion(processor, text)
        assert not set(completion[:-1].tolist()) & set(processor.specials.values())
        assert completion[-1] == processor.specials["<|im_end|>"]


def test_marks_in_a_text_are_text(nano):
    for text in (mark(0), mark(1), f"{mark(1)}{mark(0)}"):
        tokens = encode_prompt(nano, text, system="be brief").tokens
        assert f"user\n{text}<|im_end|>" in nano.tokenizer.decode(tokens)


@pytest.mark.parametrize("name", ["qwen", "nano"])
def test_several_turns_are_tokenised_as_the_rendered_string(name, request):
    processor = request.getfixturevalue(name)
    small, large = (np.full((side, 84, 3), 90, np.uint8) for side in (56, 112))
    turns = [
        ("system", ["Be brief."]),
        ("user", ["Here is one:", small, " and another: ", large]),
        ("assistant", ["Two.\n"]),
        ("user", ["Which is larger?", " Say why."]),
    ]
    content = lambda part: {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}  # noqa: E731
    messages = [{"role": role, "content": [content(part) for part in parts]} for role, parts in turns]
    text = processor.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    encoded = encode_chat(processor, turns)
    first, second, rest = text.split("<|image_pad|>")
    grids = [measure(processor, "", [image.shape[:2]]).patches[0] // 4 for image in (small, large)]
    expanded = f"{first}{'<|image_pad|>' * grids[0]}{second}{'<|image_pad|>' * grids[1]}{rest}"
    assert encoded.tokens.tolist() == processor.tokenizer(expanded).input_ids
    assert [len(p) // 4 for p in encoded.patches] == grids and grids[0] != grids[1]


def test_one_turn_of_a_chat_is_a_prompt(nano):
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    one = encode_prompt(nano, "<|im_end|>?", [image, image], system="")
    chat = encode_chat(nano, [("system", [""]), ("user", [image, image, "<|im_end|>?"])])
    np.testing.assert_array_equal(chat.tokens, one.tokens)
    np.testing.assert_array_equal(chat.positions, one.positions)
    np.testing.assert_array_equal(np.stack(chat.patches), np.stack(one.patches))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in messages %}<|im_start|>{% endfor %}", "prints a text 0 times"),
        ("{% for m in messages %}{{ m['content'][-1]['text'] * 2 }}{% endfor %}", "prints a text 2 times"),
        ("{% for m in messages %}{{ m['content'][-1]['text'] }}{% endfor %}", r"image_pad\|> 0 times for 1"),
    ],
)
def test_template_that_loses_parts_is_refused(nano_directory, template, message):
    processor = load_processor(nano_directory)
    processor.tokenizer.chat_template = template
    with pytest.raises(ValueError, match=message):
        measure(dataclasses.replace(processor), "hello", [(56, 56)])
