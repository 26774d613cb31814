"""scripts/mistakes.py: the first fault of an answer's work, and what its tokens are about."""

import re
import sys
from pathlib import Path

import pytest

from rrft_jax.pretrained import resolve_init
from rrft_jax.processing.processor import load_processor
from rrft_jax.tasks.registry import get_task
from rrft_jax.tasks.texts import cot_target

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from mistakes import kind_of, token_kinds  # noqa: E402

INDEX = next(i for i in range(50) if get_task("visual_counting").make(0, i, "test").answer == "2")
TEXT = cot_target(get_task("visual_counting").make(0, INDEX, "test"))
COLOUR = re.search(r"(?:small|large) (\w+)", TEXT)[1]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (TEXT.replace(COLOUR, "yellow" if COLOUR != "yellow" else "red", 1), "seeing"),
        (re.sub(r" (gone|no|left|1)(?=[,.])", lambda m: " 1" if m[1] != "1" else " no", TEXT, count=1), "rule"),
        (re.sub(r"Total: 2", "Total: 3", TEXT), "sum"),
        (re.sub(r"<answer>\n2", "<answer>\n3", TEXT), "copying"),
        (TEXT[: TEXT.index("</think>")], "no answer"),
        ("<think> Total: 3.\n</think>\n<answer>\n3\n</answer>", "wrong guess"),
        ("<think>\nObjects: what?\n</think>\n<answer>\n3\n</answer>", "seeing"),
    ],
)  # fmt: skip
def test_the_first_fault_of_the_work_names_a_wrong_answer(text, kind):
    assert text != TEXT
    assert kind_of(text, INDEX, "in", right=False) == kind


def test_each_token_of_an_answer_is_about_one_thing():
    tokenizer = load_processor(resolve_init("nano")).tokenizer
    pieces = [tokenizer.decode([i]) for i in tokenizer(TEXT)["input_ids"]]
    kinds = token_kinds(pieces)
    told = {kind: "".join(p for p, k in zip(pieces, kinds, strict=True) if k == kind) for kind in set(kinds)}
    assert kinds[1] == "way of thinking" and told["answer"].strip() == "2"
    assert told["total"].split() == re.search(r"((?:Add.*)?Total: \d+\.)", TEXT)[1].split()
    assert told["objects"].split() == " ".join(re.findall(r"(?:small|large) \w+ \w+ \w+", TEXT)).split()
    assert set(told["judgements"].split()) <= {"gone", "left", "no", "1", "2"}
