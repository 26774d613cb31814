"""Visual counting: procedural scenes, add / remove / count questions, exact answers, chains of thought."""

from rrft_jax.tasks.scoring import Scorer, paper_same
from rrft_jax.tasks.task import Column, HeldOut, Pretraining, Shapes, Task
from rrft_jax.tasks.visual_counting import generator, prompts, reasoning

TASK = Task(
    name=generator.NAME,
    alias="counting",
    order=1,
    templates=prompts.TEMPLATES,
    prompts={"zero_shot": "COUNT_ZS", "ans": "ANS", "cot": "COUNT_COT"},
    rewards={"accuracy": 1.0, "format": 1.0},
    paper_rewards={"accuracy_paper": 1.0, "format_paper": 1.0},
    metric="accuracy",
    scorer=Scorer(paper=paper_same),
    make=generator.example,
    held_out={"eval": HeldOut("in", "in-domain"), "eval_ood": HeldOut("out", "out-of-domain")},
    benchmarks=(
        Column(name="counting_id", title="CLEVR-Math", file="Visual-Counting-id-test-1k"),
        Column(
            name="counting_ood", title="Super-CLEVR", domain="out", file="Visual-Counting-ood-test-1k",
            split="test_ood",
        ),
    ),
    shapes=Shapes(prompt=88, images=1, completion=96),
    pretraining=Pretraining(listing="LISTING", judged=reasoning.judged_spans),
)  # fmt: skip
