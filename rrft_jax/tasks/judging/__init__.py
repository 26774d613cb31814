"""Judging pairs of responses: what a LoRA adapter learns that makes a model a judge (`rewards/judge`).

A record is a prompt with response_A and response_B in its metadata, the better one's letter as answer and, where
somebody wrote one, the rationale as chain of thought; `data/sources/preferences.py` makes two of each preference, one
in each order. The model is trained on the JSON verdict alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rrft_jax.data.example import Example
from rrft_jax.rewards.judge.items import Pair
from rrft_jax.rewards.judge.parsing import A, B, read_winner
from rrft_jax.rewards.judge.rubric import PAIRWISE, default_rubric
from rrft_jax.tasks.judging import generator
from rrft_jax.tasks.judging.generator import judged, verdict
from rrft_jax.tasks.task import HeldOut, Prediction, Shapes, Task


def _record(example: Example) -> Example:
    texts = [example.metadata.get(name) for name in ("response_A", "response_B")]
    if example.images or example.history or not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"example {example.id}: a question in text with response_A and response_B is wanted")
    if example.answer not in (A, B):
        raise ValueError(f"example {example.id}: its answer is {example.answer!r}; write A or B, the better response")
    reference = example.metadata.get("reference")
    pair = Pair(example.problem, str(texts[0]), str(texts[1]), reference if isinstance(reference, str) else None)
    made = judged(example.id, pair, example.answer, example.cot, dict(example.metadata))
    return replace(made, task=example.task)


def _with_rationale(example: Example) -> str:
    if not example.cot:
        raise ValueError(f"example {example.id} has no rationale: train without any, config.sft.target=ans")
    return verdict(example.answer, example.cot)


def summarise(predictions: Sequence[Prediction]) -> Mapping[str, float]:
    """How often the first response wins, of the verdicts that can be read; 0.5 in balanced orders shows no bias."""
    rubric = default_rubric(PAIRWISE)
    read = [read_winner(text, rubric, example.problem) for example, texts in predictions for text in texts[:1]]
    winners = [winner for winner in read if winner in (A, B)]
    return {"first_wins": winners.count(A) / len(winners)} if winners else {}


TASK = Task(
    name=generator.NAME,
    alias="judging",
    order=31,
    templates={"PAIR": "{Question}"},  # the whole turn is made with the record
    prompts={"zero_shot": "PAIR", "ans": "PAIR", "cot": "PAIR"},
    targets={"cot": _with_rationale, "ans": lambda example: verdict(example.answer)},
    rewards={"judge_verdict": 1.0},
    metric="judge_verdict",
    summarise=summarise,
    make=generator.example,
    held_out={"eval": HeldOut("in", "sums of two numbers"), "other": HeldOut("out", "sums of three numbers")},
    record=_record,
    shapes=Shapes(prompt=800, images=0, completion=64),
)
