"""Format: a thought in <think> tags, then the answer in <answer> tags."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rrft_jax.answers.tags import published_answers
from rrft_jax.rewards.values import Values

if TYPE_CHECKING:
    from rrft_jax.data.example import Example

THOUGHT_THEN_ANSWER = ("think", "answer")


def is_strict(text: str) -> bool:
    """Exactly one thought and one answer in this order, neither empty, with nothing but whitespace around them.

    Whitespace at either end is tolerated: whether a newline was sampled before the end token is not a matter
    of format, and the reference completions of other templates end in one.
    """
    return well_formed(text, THOUGHT_THEN_ANSWER)


def is_lenient(text: str) -> bool:
    """A thought that is closed and not empty, and somewhere behind it a closed answer that is not empty."""
    thought, closed, behind = text.rpartition("</think>")
    answered = any(body.strip() for body in published_answers(behind))
    return bool(closed) and bool(thought.partition("<think>")[2].strip()) and answered


def format_reward(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """1.0 where `is_strict`, else 0.0. The lenient rule is for the log: as a reward it would pay for stray text."""
    return Values(float(is_strict(text)) for text in completions)


def paper(completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int) -> Values:
    """The published reward: a full match of the bare pattern.

    A trailing newline gives 0; empty or repeated tags give 1, since a full match lets the bodies grow over them.
    """
    return Values(float(match_sections(text, THOUGHT_THEN_ANSWER) is not None) for text in completions)


def well_formed(text: str, sections: Sequence[str]) -> bool:
    """Exactly one section of each name in this order, none empty, with nothing but whitespace around them."""
    if any(text.count(tag) != 1 for name in sections for tag in (f"<{name}>", f"</{name}>")):
        return False
    found = match_sections(text.strip(), tuple(sections))
    return found is not None and all(body.strip() for body in found)


def match_sections(text: str, sections: tuple[str, ...]) -> list[str] | None:
    """The bodies in a full match of `<a>(.*?)</a>\\s*<b>(.*?)</b>...` (DOTALL), or None.

    In linear time, where the pattern itself takes a power of the number of tags: a body that ends at the first place
    where the next section begins leaves the most for those that follow.
    """
    first, last = f"<{sections[0]}>", f"</{sections[-1]}>"
    if not text.startswith(first):
        return None
    bodies, start = [], len(first)
    for joint in _joints(sections):
        found = joint.search(text, start)
        if found is None:
            return None
        bodies.append(text[start : found.start()])
        start = found.end()
    end = len(text) - len(last)
    return [*bodies, text[start:end]] if end >= start and text.endswith(last) else None


def _joints(sections: tuple[str, ...]) -> list[re.Pattern]:
    return [re.compile(rf"</{a}>\s*<{b}>") for a, b in zip(sections, sections[1:], strict=False)]
