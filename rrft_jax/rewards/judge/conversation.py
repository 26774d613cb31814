"""What a judge is asked: its role and rubric, demonstrations as turns, then the fenced item."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from rrft_jax.rewards.judge.fence import fenced
from rrft_jax.rewards.judge.rubric import DEMONSTRATIONS, PAIRWISE, POINTWISE, ROLE


@dataclass(frozen=True)
class Conversation:
    """system; turns: (role, text) of the demonstrations, "user" and "assistant" in turn; text: the item."""

    system: str
    turns: tuple[tuple[str, str], ...]
    text: str

    def digest(self, model: str) -> str:
        """The same for the same words to the same model."""
        whole = json.dumps([model, self.system, self.turns, self.text])
        return sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()


# From conversations, all different, to the reply of each, or None where none came and why.
Ask = Callable[[Sequence[Conversation]], Sequence[tuple[str | None, str]]]


def pointwise(instruction: str, response: str, reference: str = "", demonstrations: int = 6) -> Conversation:
    """One response to grade. reference: an answer known to be right, which the judge sees; empty: none."""
    turns: list[tuple[str, str]] = []
    for i, item in enumerate(_first(demonstrations)):
        good = i % 2 == 0
        turns.append(("user", _item(item.instruction, {"response": item.good if good else item.bad}, "")))
        score, why = (item.good_score, item.why_good) if good else (item.bad_score, item.why_bad)
        turns.append(("assistant", json.dumps({"score": score, "rationale": why})))
    text = _item(instruction, {"response": response}, reference)
    return Conversation(ROLE.format(rubric=POINTWISE), tuple(turns), text)


def pairwise(instruction: str, first: str, second: str, demonstrations: int = 6) -> Conversation:
    """Two responses, A and B, to compare; the demonstrations have the better one first as often as second."""
    turns: list[tuple[str, str]] = []
    for i, item in enumerate(_first(demonstrations)):
        good_first = i % 2 == 0
        pair = (item.good, item.bad) if good_first else (item.bad, item.good)
        scores = (item.good_score, item.bad_score) if good_first else (item.bad_score, item.good_score)
        turns.append(("user", _item(item.instruction, {"response A": pair[0], "response B": pair[1]}, "")))
        said = {"score_A": scores[0], "score_B": scores[1], "winner": "A" if good_first else "B"}
        turns.append(("assistant", json.dumps({**said, "rationale": item.why_bad})))
    text = _item(instruction, {"response A": first, "response B": second}, "")
    return Conversation(ROLE.format(rubric=PAIRWISE), tuple(turns), text)


def _item(instruction: str, responses: dict[str, str], reference: str) -> str:
    parts = {"instruction": instruction, **({"reference answer": reference} if reference else {}), **responses}
    return f"{fenced(parts)}\nGrade the response{'s' if len(responses) > 1 else ''} by the rubric, as one JSON object."


def _first(count: int):
    if not 0 <= count <= len(DEMONSTRATIONS):
        raise ValueError(f"demonstrations={count}: give 0 to {len(DEMONSTRATIONS)}")
    return DEMONSTRATIONS[:count]
