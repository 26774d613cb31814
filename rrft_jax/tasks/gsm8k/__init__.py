"""GSM8K: word problems in text alone, graded by the last number of the reply. Records only."""

from collections.abc import Mapping
from types import MappingProxyType

from rrft_jax.rewards.last_number import last_number, last_number_match
from rrft_jax.tasks.scoring import Scorer
from rrft_jax.tasks.task import Column, Shapes, Stages, Task

# In our words, after Reason-RFT's.
TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "GSM8K_COT": "{Question} Output the thinking process in <think> </think> and final answer (number) in <answer> "
        "</answer> tags.",
        "GSM8K_ANS": "{Question}",
        "GSM8K_ZS": "{Question}\nSolve it step by step, and write the number alone on the last line.",
    }
)


def number_key(text: str) -> str | None:
    """The last number of a reply in one spelling."""
    found = last_number(text)
    return None if found is None else str(found)


TASK = Task(
    name="gsm8k",
    alias="gsm8k",
    order=30,
    templates=TEMPLATES,
    prompts={"zero_shot": "GSM8K_ZS", "ans": "GSM8K_ANS", "cot": "GSM8K_COT"},
    rewards={"last_number": 1.0, "format": 1.0},
    metric="last_number",
    scorer=Scorer(strict=last_number_match, key=number_key, answer_type=lambda example: "number"),
    benchmarks=(Column(name="gsm8k", title="GSM8K"),),
    shapes=Shapes(prompt=256, images=0, completion=192),
    stages=Stages(rest=False),  # a folder may hold fewer than stage 1 takes
)  # fmt: skip
