"""What the tasks' texts share: filling a template's slot, and the reference completions of an example."""

from collections.abc import Mapping

from rrft_jax.data.example import Example

SLOT = "{Question}"


def fill(templates: Mapping[str, str], template: str, problem: str) -> str:
    """The user's text for a bare question. Raises KeyError naming the known templates for an unknown one."""
    if template not in templates:
        raise KeyError(f"prompt template {template!r} is not one of {', '.join(templates)}")
    return templates[template].replace(SLOT, problem)


def cot_target(example: Example) -> str:
    """The reference completion that reasons. Raises ValueError for an example without a chain of thought."""
    if example.cot is None:
        raise ValueError(f"example {example.id} has no cot: train it with the direct-answer target instead")
    return f"<think>\n{example.cot}\n</think>\n<answer>\n{example.answer}\n</answer>"


def ans_target(example: Example) -> str:
    """The reference completion that answers directly."""
    return example.answer


def listing_target(example: Example) -> str:
    """The reference completion for a LISTING prompt. Raises ValueError where the source knows no listing."""
    if "listing" not in example.metadata:
        raise ValueError(f"example {example.id} has no listing in its metadata: leave it out of the listing mixture")
    return example.metadata["listing"]
