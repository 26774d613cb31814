"""Questions about a scene and their exact answers, by set computation over the scene's objects.

Kinds follow CLEVR-Math: addition, subtraction, subtraction with an unrelated question (adversarial), two
subtractions (multihop); and plain counting.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from rrft_jax.tasks.scenes.things import Thing

# Share of each kind of question; most weight where working object by object pays.
WEIGHTS = {"multihop": 0.4, "subtraction": 0.2, "adversarial": 0.2, "addition": 0.1, "count": 0.1}
CANDIDATES = 8
ATTEMPTS = 60
TILT = 1.0  # an answer is picked with weight TILT + answer: large counts are rarer among the candidates
MAX_ADDED = 4
MAX_ANSWER = 10
PLURALS = {"bus": "buses"}

# For each kind: how it asks. The sentences before it are made by `_sentences`.
ASKS = {
    "addition": "How many {asked} exist?",
    "subtraction": "How many {asked} are left?",
    "adversarial": "How many {asked} are left?",
    "multihop": "How many {asked} are left?",
    "count": "How many {asked} are there?",
}


@dataclass(frozen=True)
class Phrase:
    """A set of objects named by some of their attributes, in the order of `Thing.attributes`; None matches all."""

    values: tuple[str | None, ...] = (None, None, None, None)

    def matches(self, thing: Thing) -> bool:
        size, colour, material, shape = self.values  # spelled out: this is the generator's innermost call
        return (
            (size is None or size == thing.size)
            and (colour is None or colour == thing.colour)
            and (material is None or material == thing.material)
            and (shape is None or shape == thing.shape)
        )

    def implies(self, other: "Phrase") -> bool:
        """Whether everything this phrase names is named by `other` too."""
        return all(theirs is None or theirs == mine for mine, theirs in zip(self.values, other.values, strict=True))

    def text(self, number: int = 2) -> str:
        """The noun phrase, in the plural unless the number is 1: "red metal cubes"; without a shape, "objects"."""
        noun = self.values[3] or "object"
        words = [value for value in self.values[:3] if value]
        return " ".join([*words, noun if number == 1 else PLURALS.get(noun, noun + "s")])


EVERYTHING = Phrase()


@dataclass(frozen=True)
class CountingQuestion:
    """Remove every object of each phrase in `removed`, add `added` objects of `addition`, then count `asked`."""

    kind: str
    removed: tuple[Phrase, ...]
    added: int
    addition: Phrase
    asked: Phrase

    def text(self) -> str:
        return " ".join([*_sentences(self), ASKS[self.kind].format(asked=self.asked.text())])


def _sentences(question: CountingQuestion) -> list[str]:
    removals = [f"Subtract all {phrase.text()}." for phrase in question.removed]
    if not question.added:
        return removals
    return [*removals, f"Add {question.added} {question.addition.text(question.added)}."]


def kept(things: tuple[Thing, ...], question: CountingQuestion) -> list[Thing]:
    """The objects that survive every removal, in their order."""
    return [thing for thing in things if not any(phrase.matches(thing) for phrase in question.removed)]


def counted(things: tuple[Thing, ...], question: CountingQuestion) -> list[Thing]:
    """The survivors that the question asks about, in their order."""
    return [thing for thing in kept(things, question) if question.asked.matches(thing)]


def answer(things: tuple[Thing, ...], question: CountingQuestion) -> int:
    """The exact answer. Added objects count whenever the phrase that names them implies the one asked for."""
    return len(counted(things, question)) + (question.added if question.addition.implies(question.asked) else 0)


def sample_question(
    rng: np.random.Generator, things: tuple[Thing, ...], kind: str | None = None
) -> CountingQuestion | None:
    """Draws a question that refers to objects which are there; None if the scene allows none of that kind.

    Several candidates are drawn and one *answer* among theirs is picked first, which widens the distribution of
    answers. kind: one of WEIGHTS (else ValueError), or None to draw it and to try the others too.
    """
    if kind is not None and kind not in WEIGHTS:
        raise ValueError(f"question kind {kind!r} is not one of {', '.join(WEIGHTS)}")
    kinds = list(WEIGHTS)
    # A scene may not allow the kind that was drawn (two equal objects and no contrast): then the next one is tried.
    order = [kind] if kind else [kinds[i] for i in rng.choice(len(kinds), len(kinds), False, list(WEIGHTS.values()))]
    for name in order:
        found: dict[int, list[CountingQuestion]] = {}
        drawn = 0
        for _ in range(ATTEMPTS):
            question = _MAKERS[name](rng, things)
            if question is not None:
                found.setdefault(answer(things, question), []).append(question)
                drawn += 1
            if drawn == CANDIDATES:
                break
        if found:
            answers = sorted(found)
            odds = np.cumsum([TILT + number for number in answers])
            same = found[answers[int(np.searchsorted(odds, rng.random() * odds[-1], side="right"))]]
            return same[int(rng.integers(len(same)))]
    return None


_SUBSETS = {number: tuple(combinations(range(4), number)) for number in range(1, 5)}


def _phrase(rng: np.random.Generator, thing: Thing, odds: tuple[float, ...] = (0.6, 0.35, 0.05)) -> Phrase:
    """Names `thing` by a random subset of its attributes; odds[i] is the chance of i + 1 attributes."""
    number, left = 1, rng.random() * sum(odds) - odds[0]
    while left > 0 and number < len(odds):
        left -= odds[number]
        number += 1
    subsets = _SUBSETS[number]
    chosen = subsets[int(rng.integers(len(subsets)))]
    return Phrase(tuple(value if i in chosen else None for i, value in enumerate(thing.attributes())))


def _pick(rng: np.random.Generator, things: list[Thing] | tuple[Thing, ...]) -> Thing:
    return things[int(rng.integers(len(things)))]


def _wider(rng: np.random.Generator, phrase: Phrase) -> Phrase:
    """The phrase with some of its attributes dropped, perhaps all."""
    return Phrase(tuple(value if value and rng.random() < 0.5 else None for value in phrase.values))


def _addition(rng: np.random.Generator, things: tuple[Thing, ...]) -> CountingQuestion | None:
    asked = EVERYTHING if rng.random() < 0.4 else _phrase(rng, _pick(rng, things), (0.7, 0.3))
    added = int(rng.integers(1, MAX_ADDED + 1))
    named = _phrase(rng, _pick(rng, things), (0.2, 0.5, 0.3))
    # Keep what is asked for inside what is added, so that the sum is not a trick.
    merged = Phrase(tuple(a or n for a, n in zip(asked.values, named.values, strict=True)))
    question = CountingQuestion("addition", (), added, merged, asked)
    return question if answer(things, question) <= MAX_ANSWER else None


def _subtraction(rng: np.random.Generator, things: tuple[Thing, ...]) -> CountingQuestion | None:
    removed = _phrase(rng, _pick(rng, things))
    asked = EVERYTHING if rng.random() < 0.6 else _wider(rng, removed)
    question = CountingQuestion("subtraction", (removed,), 0, EVERYTHING, asked)
    return question if asked != removed and kept(things, question) else None


def _adversarial(rng: np.random.Generator, things: tuple[Thing, ...]) -> CountingQuestion | None:
    removed = _phrase(rng, _pick(rng, things))
    asked = _phrase(rng, _pick(rng, things), (0.75, 0.25))
    question = CountingQuestion("adversarial", (removed,), 0, EVERYTHING, asked)
    return question if not asked.implies(removed) and not removed.implies(asked) and kept(things, question) else None


def _multihop(rng: np.random.Generator, things: tuple[Thing, ...]) -> CountingQuestion | None:
    first = _phrase(rng, _pick(rng, things))
    rest = [thing for thing in things if not first.matches(thing)]
    if not rest:
        return None
    second = _phrase(rng, _pick(rng, rest))
    if first.implies(second):
        return None
    asked = EVERYTHING if rng.random() < 0.6 else _phrase(rng, _pick(rng, things), (1.0,))
    question = CountingQuestion("multihop", (first, second), 0, EVERYTHING, asked)
    # An asked kind that a removal empties by name alone could be answered without looking.
    blind = any(asked.implies(phrase) for phrase in question.removed)
    return question if not blind and kept(things, question) else None


def _count(rng: np.random.Generator, things: tuple[Thing, ...]) -> CountingQuestion | None:
    asked = EVERYTHING if rng.random() < 0.15 else _phrase(rng, _pick(rng, things), (0.7, 0.3))
    return CountingQuestion("count", (), 0, EVERYTHING, asked)


_MAKERS = {
    "addition": _addition,
    "subtraction": _subtraction,
    "adversarial": _adversarial,
    "multihop": _multihop,
    "count": _count,
}
