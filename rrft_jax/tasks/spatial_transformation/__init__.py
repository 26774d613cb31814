"""Spatial transformation: two pictures of a few objects, and which functions lead from the first to the second."""

from rrft_jax.data.example import Example
from rrft_jax.rewards import functions
from rrft_jax.rewards.accuracy import accuracy
from rrft_jax.tasks.scoring import Scorer
from rrft_jax.tasks.spatial_transformation import generator, prompts, reasoning, scoring
from rrft_jax.tasks.task import Column, HeldOut, Pretraining, Shapes, Task


def _record(example: Example) -> Example:
    functions.wanted(example)  # raises ValueError where the answer is no sequence of functions
    return example


TASK = Task(
    name=generator.NAME,
    alias="spatial",
    order=3,
    templates=prompts.TEMPLATES,
    prompts={"zero_shot": "SPATIAL_ZS", "ans": "SPATIAL_ANS", "cot": "SPATIAL_COT"},
    published={
        "zero_shot": "TRANCE_ZS", "ans": "TRANCE_ANS", "cot": "TRANCE_COT", "caption": "TRANCE_CAPTION",
        "caption_eval": "TRANCE_CAPTION_EVAL",
    },
    replaced={"caption": "caption_eval", "TRANCE_CAPTION": "TRANCE_CAPTION_EVAL"},
    rewards={"functions_full": 1.0, "format": 1.0},
    paper_rewards={"functions_full_paper": 1.0, "format_paper": 1.0},
    metric="functions",
    scorer=Scorer(
        strict=functions.functions, exact=accuracy, paper=scoring.paper_credit, key=scoring.functions_key,
        answer_type=scoring.function_count,
    ),
    make=generator.example,
    image_size=generator.IMAGE_SIZE,
    held_out={
        "eval": HeldOut("in", "in-domain"), "eval_left": HeldOut("left", "left camera"),
        "eval_right": HeldOut("right", "right camera"),
    },
    benchmarks=(
        Column(name="spatial_id", title="TRANCE", file="Spatial-Transformation-id-test-1k"),
        Column(
            name="spatial_left", title="TRANCE-L", domain="left", file="Spatial-Transformation-ood-left-test-1k",
            split="test_left",
        ),
        Column(
            name="spatial_right", title="TRANCE-R", domain="right", file="Spatial-Transformation-ood-right-test-1k",
            split="test_right",
        ),
    ),
    record=_record,
    shapes=Shapes(prompt=120, images=2, completion=112),
    pretraining=Pretraining(listing="SPATIAL_LISTING", judged=reasoning.judged_spans),
)  # fmt: skip
