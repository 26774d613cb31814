"""How answers of the spatial task are scored: the published score, the spelling for votes, the kind of a question."""

import re

from rrft_jax.data.example import Example
from rrft_jax.rewards import transforms
from rrft_jax.rewards.functions import answered
from rrft_jax.rewards.values import gold_answer

_ONE_LINE_ANSWER = re.compile(r"<answer>(.*?)</answer>")


def paper_credit(text: str, example: Example) -> float:
    """The published scorer of the spatial task: partial credit as in the training reward, but repeats cost nothing, and
    an answer that spans lines is not found, so that the functions named in the thought are scored along with it."""
    found = _ONE_LINE_ANSWER.search(text)
    answer = transforms.read_paper(found.group(1) if found else text)
    gold = transforms.read_paper(gold_answer(example))
    return transforms.credit(answer, gold, transforms.PARTIAL, transforms.in_passes, repeats_cost=False)


def functions_key(text: str) -> str | None:
    """The functions of a completion's answer in one order and spelling; None where there is none."""
    found = set(transforms.readable(answered(text)))
    return ", ".join(sorted(f"{f.name}({f.object}, {f.value})" for f in found)) or None


def count(example: Example) -> str:
    """The number of functions in the reference."""
    return str(len(transforms.readable(transforms.read(str(example.answer)))))
