"""How answers of the spatial task are scored: the published score, the spelling for votes, the kind of a question."""

from rrft_jax.answers.functions import read_functions, read_paper, readable
from rrft_jax.answers.tags import published_answer_of_a_line
from rrft_jax.data.example import Example
from rrft_jax.rewards import transforms
from rrft_jax.rewards.functions import answered
from rrft_jax.rewards.values import gold_answer


def paper_credit(text: str, example: Example) -> float:
    """The published scorer of the spatial task: partial credit as in the training reward, but repeats cost nothing, and
    an answer that spans lines is not found, so that the functions named in the thought are scored along with it."""
    answer, gold = read_paper(published_answer_of_a_line(text)), read_paper(gold_answer(example))
    return transforms.partial_credit(answer, gold, transforms.PARTIAL, transforms.in_passes, repeats_cost=False)


def functions_key(text: str) -> str | None:
    """The functions of a completion's answer in one order and spelling; None where there is none."""
    found = set(readable(answered(text)))
    return ", ".join(sorted(f"{f.name}({f.object}, {f.value})" for f in found)) or None


def function_count(example: Example) -> str:
    """The number of functions in the reference."""
    return str(len(readable(read_functions(str(example.answer)))))
