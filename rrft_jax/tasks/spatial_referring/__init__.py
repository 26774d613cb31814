"""Spatial referring (RoboRefer): a point that a description means, reached in steps of perception."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from rrft_jax.answers.tags import extract_answer
from rrft_jax.data.decoding import open_image
from rrft_jax.data.example import Example
from rrft_jax.rewards import pointing as rewards
from rrft_jax.rewards.points import mask_share, read_points, text_points
from rrft_jax.tasks.localised import THINKING, checked_point, checked_size, in_shares, written_in
from rrft_jax.tasks.scenes.extent import from_spans
from rrft_jax.tasks.scoring import Scorer
from rrft_jax.tasks.spatial_referring import generator
from rrft_jax.tasks.task import Column, HeldOut, Prediction, Shapes, Task

TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "POINT_COT": f"{{Question}} {THINKING}",
        "POINT_ANS": "{Question}",
        # In our words: steps and points as the rewards read them.
        "POINT_FULL": "{Question}\nThink first, one step a line, as [Position] [object]: [(x, y)], [Orientation] "
        "[object]: (x, y, z) or [Size] [object]: metres, then answer with one point:\n<think>...</think>"
        "<answer>[(x, y)]</answer>\nx and y are between 0 and 1, with three decimals.",
    }
)


def _record(example: Example) -> Example:
    """A gold point in pixels (metadata `point` with `size`), or an answer in shares of the sides, which becomes one.
    A record for a benchmark may have a mask instead: then its middle is the point."""
    size = checked_size(example)
    point = example.metadata.get("point")
    if point is None and (mask := mask_of(example)) is not None and mask.any():
        ys, xs = np.nonzero(mask)
        middle = int(np.argmin(np.abs(xs - xs.mean()) + np.abs(ys - ys.mean())))  # a pixel of the mask itself
        point = [xs[middle] + 0.5, ys[middle] + 0.5]
    elif point is None:
        found = read_points(example.answer)
        if len(found) != 1:
            raise ValueError(
                f"answer {example.answer!r:.80} is no point such as [(0.341, 0.510)], and there is no point"
            )
        point = [found[0][0] * size[0], found[0][1] * size[1]]
    x, y = checked_point([float(v) for v in point], size)
    shares = in_shares((x, y), size)
    metadata = {**example.metadata, "point": [x, y], "size": list(size)}
    made = replace(example, answer=f"[({shares[0]:.3f}, {shares[1]:.3f})]", metadata=metadata)
    rewards.key_steps(made)  # raises ValueError for a step that cannot be read
    return made


def mask_of(example: Example) -> np.ndarray | None:
    """bool[height, width]: the gold mask of an example, from `mask` (runs of pixels) or the file `mask_path`; None
    where it has none. ValueError where the file cannot be read."""
    if example.metadata.get("mask"):
        width, height = example.metadata["size"]
        return from_spans(example.metadata["mask"], height, width)
    if path := example.metadata.get("mask_path"):
        return np.asarray(open_image(path).convert("L")) > 0
    return None


def summarise(predictions: Sequence[Prediction]) -> Mapping[str, float]:
    """RefSpatial-Bench: the mean over questions of the share of points within the mask, a question without a point
    counting 0; the same with such questions left out, as published; by number of steps; and points near gold."""
    shares: list[float | None] = []
    by_step: dict[str, list[float]] = {}
    for example, texts in predictions:
        mask, answer = mask_of(example), extract_answer(texts[0])
        if mask is None:
            continue
        height, width = mask.shape
        share = mask_share(text_points(answer.text, width, height), mask) if answer else None
        shares.append(share)
        by_step.setdefault(str(example.metadata.get("step", "?")), []).append(share or 0.0)
    examples, texts = [p.example for p in predictions], [p.texts[0] for p in predictions]
    near = rewards.point_near(texts, examples, range(len(texts)), 0)
    metrics = {"near": sum(v or 0.0 for v in near) / len(near)}
    read = [share for share in shares if share is not None]
    if shares:
        metrics |= {"mask": sum(read) / len(shares), "mask_paper": sum(read) / len(read) if read else 0.0}
    return metrics | {f"mask_{name}_steps": sum(v) / len(v) for name, v in sorted(by_step.items())}


def _key(text: str) -> str | None:
    point = rewards.said_point(text)
    return point and f"({point[0]:.1f}, {point[1]:.1f})"


TASK = Task(
    name=generator.NAME,
    alias="referring",
    order=15,
    templates=TEMPLATES,
    prompts={"zero_shot": "POINT_FULL", "ans": "POINT_ANS", "cot": "POINT_COT"},
    published={"zero_shot": "POINT_FULL", "ans": "POINT_ANS", "cot": "POINT_FULL"},
    rewards={"format": 1.0, "point_near": 1.0, "steps_format": 0.25, "steps_accuracy": 0.25},
    paper_rewards={"format_paper": 1.0, "point_near_paper": 1.0, "steps_format": 0.25, "steps_accuracy_paper": 0.25},
    metric="point_near",
    scorer=Scorer(
        strict=rewards.point_near, key=_key, answer_type=lambda example: f"{example.metadata.get('step', '?')} steps"
    ),
    summarise=summarise,
    make=generator.example,
    held_out={"eval": HeldOut("in", "in-domain"), "eval_ood": HeldOut("out", "vehicles")},
    benchmarks=(
        Column(name="referring_id", title="Scenes"), Column(name="referring_ood", title="Vehicles", domain="out"),
    ),
    record=_record,
    rewrite=written_in("unit"),
    shapes=Shapes(prompt=168, images=1, completion=256),
)  # fmt: skip
