"""A task from outside the package: how many objects of a colour does a picture show?

TASK is what the package is told of it; `close` is a reward, `summarise` a metric of a whole set of answers.
"""

from rrft_jax.answers.tags import extract_answer
from rrft_jax.tasks import Column, Task


def read(text):
    """The number that a completion answers with; None where it gives none."""
    answer = extract_answer(text)
    return int(answer.text) if answer and answer.text.isdecimal() else None


def close(completions, examples, group_ids, step, *, reach=2):
    """1 for the right number, less the further off it is, 0 from `reach` on and for what is no number."""
    values = []
    for text, example in zip(completions, examples, strict=True):
        number = read(text)
        off = reach if number is None else abs(number - int(example.answer))
        values.append(max(0.0, 1 - off / reach))
    return values


def summarise(predictions):
    """How far off the numbers are on average, and the share of answers that are no number."""
    numbers = [(read(p.texts[0]), int(p.example.answer)) for p in predictions]
    off = [abs(number - right) for number, right in numbers if number is not None]
    return {"mean_error": sum(off) / max(len(off), 1), "unread": 1 - len(off) / len(numbers)}


def record(example):
    """A record as it is trained on. What raises is listed with its reason and left out."""
    if not example.answer.isdecimal():
        raise ValueError(f"answer {example.answer!r} is no number")
    return example


PROMPT = (
    "{Question} Output the thinking process in <think> </think> and final answer (number) in <answer> </answer> tags."
)

TASK = Task(
    name="discs",
    templates={"DISCS": PROMPT},
    prompts={"cot": "DISCS", "zero_shot": "DISCS"},
    rewards={"accuracy": 1.0, "format": 0.5},
    record=record,
    summarise=summarise,
    benchmarks=(Column(name="discs", title="Discs"),),
)
