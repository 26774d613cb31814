"""A task from outside the package: how many discs of a colour does a picture show?

The object TASK says all that the package needs to know; `close` is a reward, `summarise` a metric of the whole set.
"""

from rrft_jax.rewards import extract_answer
from rrft_jax.tasks import Column, Shapes, Task

PROMPT = (
    "{Question} Output the thinking process in <think> </think> and final answer (number) in <answer> </answer> tags."
)


def read(text):
    """The number that a completion answers with; None where it gives none."""
    answer = extract_answer(text)
    return int(answer.text) if answer and answer.text.isdecimal() else None


def close(completions, examples, group_ids, step, *, reach=2):
    """1 for the right number, less the further off it is, and 0 from `reach` on."""
    off = [abs(read(text) - int(e.answer)) if read(text) is not None else reach for text, e in zip(completions, examples)]
    return [max(0.0, 1 - distance / reach) for distance in off]


def summarise(predictions):
    """How far off the answers are on average, and the share of those that are no number."""
    numbers = [(read(p.texts[0]), int(p.example.answer)) for p in predictions]
    off = [abs(number - right) for number, right in numbers if number is not None]
    return {"mean_error": sum(off) / len(off) if off else 0.0, "unread": 1 - len(off) / len(numbers)}


def record(example):
    """A record that is trained on as it is; one whose answer is no number is left out and listed with this reason."""
    if not example.answer.isdecimal():
        raise ValueError(f"answer {example.answer!r} is no number")
    return example


TASK = Task(
    name="discs",
    templates={"DISCS": PROMPT},
    prompts={"cot": "DISCS", "zero_shot": "DISCS"},
    rewards={"accuracy": 1.0, "format": 0.5},
    summarise=summarise,
    record=record,
    benchmarks=(Column(name="discs", title="Discs"),),
    shapes=Shapes(prompt=96, images=1, completion=96),
)
