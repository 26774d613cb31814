"""The chain of thought of a counting question, and the plain listing of a scene.

Objects are named from left to right, four words each, and every name is followed at once by its verdict: "gone" if a
subtraction takes it away, "no" if the question does not ask for it, else its number in the running count. A verdict
therefore depends on the four words before it, the question, and the last number; nothing has to be looked up by
position, which is what makes the text easy to write token by token, and short.
"""

from rrft_jax.tasks.visual_counting.questions import Question, answer
from rrft_jax.tasks.visual_counting.scene import Thing

GONE, OTHER = "gone", "no"


def name(thing: Thing) -> str:
    """The four attributes: "small red metal cube"."""
    return " ".join(thing.attributes())


def listing(things: tuple[Thing, ...]) -> str:
    """All objects from left to right, without a question: the target of scene-listing pre-training."""
    return "Objects: " + ", ".join(name(thing) for thing in things) + "."


def verdicts(things: tuple[Thing, ...], question: Question) -> list[str]:
    """One word for each object: GONE, OTHER, or its number among those counted."""
    words, number = [], 0
    for thing in things:
        if any(phrase.matches(thing) for phrase in question.removed):
            words.append(GONE)
        elif not question.asked.matches(thing):
            words.append(OTHER)
        else:
            number += 1
            words.append(str(number))
    return words


def chain_of_thought(things: tuple[Thing, ...], question: Question) -> str:
    """The working that leads to the answer; its last word is the answer."""
    words = verdicts(things, question)
    steps = "Objects: " + ", ".join(f"{name(thing)} {word}" for thing, word in zip(things, words, strict=True)) + "."
    total = answer(things, question)
    if question.added:
        steps += f" Add: {total - question.added} + {question.added} = {total}."
    return f"{steps} Total: {total}."
