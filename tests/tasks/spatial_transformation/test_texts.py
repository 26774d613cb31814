"""Thoughts that lead to the answer, lengths, prompts and targets of the spatial task."""

import re
from pathlib import Path

import pytest
from tokenizers import Tokenizer

import rrft_jax
from rrft_jax.data.trance_text import DIRECTIONS, VALUES
from rrft_jax.tasks import texts
from rrft_jax.tasks.spatial_transformation import prompts
from rrft_jax.tasks.spatial_transformation.generator import example, scenes_of
from rrft_jax.tasks.spatial_transformation.scene import DOMAINS

FUNCTION = re.compile(r"(\w+)\((\w+),\s*'?(\w+)'?\)")
TRANCE = [name for name in prompts.TEMPLATES if name.startswith("TRANCE")]


@pytest.fixture(scope="module")
def made():
    return [(domain, index, example(6, index, "texts", domain, 28)) for domain in DOMAINS for index in range(60)]


def concluded(cot: str) -> str:
    """The answer that a thought leads to, by its words alone."""
    calls = []
    for line in cot.split("\n"):
        words = line.removesuffix(".").split()
        number = words[0].split(":")[0]
        results = [*words[2:9:2], words[9]]
        for kind, result in zip(("size", "color", "material", "shape", "position"), results, strict=True):
            if result not in ("same", "stays"):
                calls.append(f"change_{kind}({number}, {result})")
    return ", ".join(calls)


def test_a_thought_leads_to_the_answer(made):
    for *_, one in made:
        assert concluded(one.cot) == one.answer
        assert FUNCTION.search(one.cot) is None  # or the scorer that reads the whole text would count it


def test_a_thought_repeats_the_question_and_points_into_the_final_picture(made):
    for domain, index, one in made:
        final = scenes_of(6, index, "texts", domain)[1]
        lines = one.problem.split("\n")
        assert lines[0] == "Initial objects:" and lines[-1] == "What changed?"
        for line, asked, rank in zip(one.cot.split("\n"), lines[1:-1], final.ranks, strict=True):
            words = line.split()
            assert f"{words[0].split(':')[0]} {' '.join(words[1:9:2])}" == asked
            assert words[0] == f"{asked[0]}:{rank}"
            shown = [new if new != "same" else old for old, new in zip(words[1:9:2], words[2:9:2], strict=True)]
            listed = one.metadata["listing"].removeprefix("Objects: ").removesuffix(".").split(", ")
            assert " ".join(shown) == listed[rank]


def test_prompts_and_completions_are_short(made):
    """At most 150 tokens each; the prompt with its chat turns and 2 x 16 visual tokens."""
    tokenizer = Tokenizer.from_file(str(Path(rrft_jax.__file__).parent / "assets/nano/tokenizer.json"))
    chat = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        "<|vision_start|><|vision_end|><|vision_start|><|vision_end|>{}<|im_end|>\n<|im_start|>assistant\n"
    )
    for *_, one in made:
        assert len(tokenizer.encode(one.cot).ids) <= 150
        for template in ("SPATIAL_COT", "SPATIAL_ANS", "SPATIAL_ZS", "SPATIAL_LISTING"):
            prompt = chat.format(prompts.format_prompt(template, one.problem))
            assert len(tokenizer.encode(prompt).ids) + 32 <= 150


def test_targets(made):
    one = made[0][2]
    assert texts.cot_target(one) == f"<think>\n{one.cot}\n</think>\n<answer>\n{one.answer}\n</answer>"
    assert texts.ans_target(one) == one.answer
    assert texts.listing_target(one) == one.metadata["listing"]
    assert re.fullmatch(r"<think>.*?</think>\s*<answer>.*?</answer>", texts.cot_target(one), re.DOTALL)


def test_compact_templates():
    assert prompts.format_prompt("SPATIAL_COT", "Q?") == (
        "Q? Output the thinking process in <think> </think> and final answer in <answer> </answer> tags."
    )
    assert prompts.format_prompt("SPATIAL_ANS", "Q?") == "Q?"
    assert prompts.format_prompt("SPATIAL_ZS", "Q?").endswith(" Q?")
    with pytest.raises(KeyError, match="TRANCE_CAPTION_EVAL"):
        prompts.format_prompt("COUNT_COT", "Q?")


@pytest.mark.parametrize("name", TRANCE)
def test_long_templates_say_what_an_answer_may_hold(name):
    text = prompts.TEMPLATES[name]
    assert text.count("{Question}") == 1 and text.index("{Question}") > text.index("Now, it's your turn!\n\n")
    assert text.startswith("Solve the following task of spatial visual reasoning by these rules.\n")
    assert "('object_id','shape','size','color','material')" in text
    for number, (attribute, values) in enumerate(VALUES.items(), 1):
        (line,) = re.findall(rf"^{number}\. `change_{attribute}\(object_id, value\)`.*$", text, re.MULTILINE)
        assert re.findall(r"`(\w+)`", line) == list(values)
    glossary = re.findall(r"^- `(\w+)`:", text, re.MULTILINE)
    assert glossary == ([] if name == "TRANCE_CAPTION" else list(DIRECTIONS))
    assert ("length ranging from 1 to 4" in text) == (name != "TRANCE_CAPTION")


def test_long_templates_end_as_the_published_ones_do():
    two = " Output the thinking process in <think> </think> and final answer in <answer> </answer> tags."
    tails = {
        "TRANCE_COT": "{Question}" + two + "\n",
        "TRANCE_ANS": "{Question}\n",
        "TRANCE_ZS": "{Question} Please output the answer only with a sequence of functions for transformation.\n",
        "TRANCE_CAPTION": "{Question} \n",
        "TRANCE_CAPTION_EVAL": "{Question} Output the summary process in <summary> </summary>, caption process in "
        "<caption>...</caption>, thinking process in <think> </think> and final answer in <answer> </answer> tags.",
    }
    sections = {
        "TRANCE_COT": ["think", "answer"],
        "TRANCE_CAPTION": ["summary", "caption", "think", "answer"],
        "TRANCE_CAPTION_EVAL": ["summary", "caption", "think", "answer"],
    }
    for name in TRANCE:
        body, tail = prompts.TEMPLATES[name].split("Now, it's your turn!\n\n")
        assert tail == tails[name]
        assert re.findall(r"in `<(\w+)>\.\.\.</\1>`", body) == sections.get(name, [])
        assert ("### Output Format" in body) == (name in sections)
