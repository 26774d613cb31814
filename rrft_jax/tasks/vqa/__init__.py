"""Visual question answering in general: records only, open answers and choices by letter."""

from rrft_jax.tasks.scoring import Scorer, choice_key, paper_same
from rrft_jax.tasks.task import Column, Stages, Task
from rrft_jax.tasks.vqa import choices, prompts

TASK = Task(
    name="vqa",
    alias="vqa",
    order=4,
    templates=prompts.TEMPLATES,
    prompts={
        "zero_shot": prompts.by_kind("VQA_ZS", "VQA_CHOICE_ZS"), "ans": "VQA_ANS",
        "cot": prompts.by_kind("VQA_COT", "VQA_CHOICE_COT"),
    },
    rewards={"accuracy": 1.0, "format": 1.0},
    paper_rewards={"accuracy_paper": 1.0, "format_paper": 1.0},
    metric="accuracy",
    scorer=Scorer(paper=paper_same, key=choice_key, answer_type=choices.kind),
    benchmarks=(Column(name="vqa", title="VQA records"),),
    record=choices.by_letter,
    stages=Stages(rest=False),  # a folder may hold fewer than stage 1 takes
)  # fmt: skip
