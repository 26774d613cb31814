"""Structure perception: plane geometry whose numbers stand in the picture, exact answers, chains of thought."""

from rrft_jax.tasks.scoring import Scorer, choice_key, paper_same
from rrft_jax.tasks.structure_perception import generator, problem, prompts
from rrft_jax.tasks.task import Column, HeldOut, Pretraining, Shapes, Stages, Task

TASK = Task(
    name=generator.NAME,
    alias="structure",
    order=2,
    templates=prompts.TEMPLATES,
    prompts={"zero_shot": "GEO_ZS", "ans": "ANS", "cot": prompts.choose_cot},
    rewards={"accuracy": 1.0, "format": 1.0},
    paper_rewards={"accuracy_paper": 1.0, "format_paper": 1.0},
    metric="accuracy",
    scorer=Scorer(paper=paper_same, key=choice_key),
    make=generator.example,
    image_size=generator.IMAGE_SIZE,
    held_out={"eval": HeldOut("in", "in-domain"), "eval_ood": HeldOut("out", "out-of-domain")},
    benchmarks=(
        Column(name="structure_id", title="GeoMath", file="Structure-Perception-id-test-820"),
        Column(
            name="structure_ood", title="Geometry3K", domain="out", file="Structure-Perception-ood-test-800",
            split="test_ood",
            prompts={"cot": "GEO3K_COT"},  # it mixes numbers and choices in one file, and prompts for all of them alike
        ),
    ),
    shapes=Shapes(prompt=128, images=1, completion=120),
    stages=Stages(rest=False, epochs=5.0),  # there are 4,500 records
    pretraining=Pretraining(listing="FIGURE_LISTING", judged=problem.judged_spans),
)  # fmt: skip
