"""The chain of thought of a counting question.

Objects are named from left to right, four words each, and every name is followed at once by its judgements: for each
subtraction in turn "gone" (and the object is done with) or "left", then "no" if the question does not ask for it, else
its number in the running count. Each word therefore tests the four words before it against a single phrase of the
question; nothing has to be looked up by position, which is what makes the text easy to write token by token, and short.
"""

import re

from rrft_jax.tasks.scenes.things import Thing, name
from rrft_jax.tasks.visual_counting.questions import CountingQuestion, answer

GONE, LEFT, OTHER = "gone", "left", "no"


def judgements(things: tuple[Thing, ...], question: CountingQuestion) -> list[str]:
    """For each object: LEFT for every subtraction it survives, then GONE, OTHER, or its number among those counted."""
    words, number = [], 0
    for thing in things:
        taken = [phrase.matches(thing) for phrase in question.removed]
        if any(taken):
            tests = [LEFT] * taken.index(True) + [GONE]
        elif not question.asked.matches(thing):
            tests = [LEFT] * len(taken) + [OTHER]
        else:
            number += 1
            tests = [LEFT] * len(taken) + [str(number)]
        words.append(" ".join(tests))
    return words


def chain_of_thought(things: tuple[Thing, ...], question: CountingQuestion) -> str:
    """The working that leads to the answer; its last word is the answer."""
    words = judgements(things, question)
    steps = "Objects: " + ", ".join(f"{name(thing)} {word}" for thing, word in zip(things, words, strict=True)) + "."
    total = answer(things, question)
    if question.added:
        steps += f" Add: {total - question.added} + {question.added} = {total}."
    return f"{steps} Total: {total}."


def judged_spans(thought: str) -> list[tuple[int, int]]:
    """Where the thought says a judgement or a number."""
    return [match.span() for match in re.finditer(rf"\b(?:{GONE}|{LEFT}|{OTHER}|\d+)\b", thought)]
