"""Where the work of an answer to a counting question goes wrong first, and what each part of its text is about."""

import re
from dataclasses import dataclass
from itertools import accumulate

from nano_mixture import way

from rrft_jax.answers.tags import split_completion
from rrft_jax.tasks.visual_counting.generator import scene_and_question
from rrft_jax.tasks.visual_counting.questions import answer
from rrft_jax.tasks.visual_counting.reasoning import chain_of_thought

# In the order of the work: an answer is counted under the first that applies.
KINDS = ("right", "no answer", "wrong guess", "seeing", "rule", "sum", "copying")
TOKEN_KINDS = ("way of thinking", "objects", "judgements", "total", "answer", "tags and commas")
WORDS = 4  # of an object's name


@dataclass(frozen=True)
class Work:
    """objects: the names in their order. judged: what is said of each. total: all that follows."""

    objects: tuple[str, ...]
    judged: tuple[str, ...]
    total: str


def read_work(thought: str) -> Work | None:
    """The parts of `chain_of_thought`'s text, None where it is of another form."""
    found = re.fullmatch(r"Objects: (.*?)\.((?: Add: [^.]*\.)? Total: \d+)\.", thought.strip())
    if not found:
        return None
    words = [entry.split() for entry in found[1].split(", ")]
    return Work(tuple(" ".join(w[:WORDS]) for w in words), tuple(" ".join(w[WORDS:]) for w in words), found[2])


def kind_of(text: str, index: int, domain: str, right: bool) -> str:
    """One of KINDS, for an answer to the test question `index` of seed 0."""
    if right:
        return "right"
    thought, said = split_completion(text)
    if not said:
        return "no answer"
    if way(text) != "reason":
        return "wrong guess"
    scene, question = scene_and_question(0, index, "test", domain)
    ours, gold = read_work(thought or ""), read_work(chain_of_thought(scene.things, question))
    if ours is None or ours.objects != gold.objects:
        return "seeing"
    if ours.judged != gold.judged:
        return "rule"
    return "copying" if ours.total.split()[-1] == str(answer(scene.things, question)) else "sum"


def token_kinds(pieces: list[str]) -> list[str]:
    """One of TOKEN_KINDS for each token of an answer, given as text."""
    text, starts = "".join(pieces), list(accumulate(map(len, pieces), initial=0))[:-1]
    names = r"(?:small|large) \w+ \w+ \w+"
    patterns = {"answer": r"(?<=<answer>)[^<]*", "total": r"(?:Add|Total):[^<]*", "objects": names,
                "judgements": r"\b(?:gone|left|no|\d+)\b"}  # fmt: skip
    spans = [(*m.span(), kind) for kind, pattern in patterns.items() for m in re.finditer(pattern, text)]
    kinds = []
    for number, (start, piece) in enumerate(zip(starts, pieces, strict=True)):
        word = start + len(piece) - len(piece.lstrip())
        inside = (kind for low, high, kind in spans if low <= word < high)
        kinds.append("way of thinking" if number == 1 else next(inside, "tags and commas"))
    return kinds
