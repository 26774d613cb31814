"""Texts that all tasks share: templates with a slot for the question, and the reference completions of an example."""

from collections.abc import Mapping
from pathlib import Path

from rrft_jax.answers.tags import reference_answer, split_thought
from rrft_jax.data.example import IMAGE_MARK, Example

SLOT = "{Question}"


def fill(text: str, problem: str) -> str:
    """The user's text: a template with the problem in its slot; without a slot it is the same for every problem."""
    return text.replace(SLOT, problem)


def with_marks(example: Example) -> str:
    """The question behind a line with a mark for each picture: what Reason-RFT's SFT data has in a template's slot.

    One that says itself where its pictures go stays as it is.
    """
    return example.problem if example.marked else f"{IMAGE_MARK}\n" * len(example.images) + example.problem


def format_prompt(templates: Mapping[str, str], name: str, problem: str) -> str:
    """The user's text for a bare question. Raises KeyError naming the known templates for an unknown one."""
    if name not in templates:
        raise KeyError(f"prompt template {name!r} is not one of {', '.join(templates)}")
    return fill(templates[name], problem)


def is_template_file(prompt: str) -> bool:
    """Whether a prompt is a path and no name: whether it has a dot or a slash."""
    return "/" in prompt or "." in prompt


def read_template(path: str | Path) -> str:
    """The template in a text file, without the line break that editors put at the end of a file.

    Raises ValueError that names the file where it does not exist or has no slot for the question.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"prompt template file {path} cannot be read: {error}") from None
    if text.count(SLOT) != 1:
        raise ValueError(f"prompt template file {path} must hold {SLOT} once, where the question goes")
    return text


def cot_target(example: Example) -> str:
    """The reference completion that reasons: one thought and one answer, also where the example's texts hold tags.

    Raises ValueError for an example without a chain of thought.
    """
    thought = split_thought(example.cot)[0] if example.cot is not None else ""
    if not thought.strip():
        raise ValueError(f"example {example.id} has no cot: train it with the direct-answer target instead")
    return f"<think>\n{thought}\n</think>\n<answer>\n{ans_target(example)}\n</answer>"


def ans_target(example: Example) -> str:
    """The reference completion that answers directly. Raises ValueError for an answer of tags with nothing in them."""
    answer = reference_answer(example.answer)
    if not answer:
        raise ValueError(f"example {example.id} has the answer {example.answer!r}, which holds no answer; correct it")
    return answer


def listing_target(example: Example) -> str:
    """The reference completion for a LISTING prompt. Raises ValueError where the source knows no listing."""
    if "listing" not in example.metadata:
        raise ValueError(f"example {example.id} has no listing in its metadata: leave it out of the listing mixture")
    return example.metadata["listing"]
