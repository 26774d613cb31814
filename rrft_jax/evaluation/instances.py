"""Counts of right rollouts for every record, kept on disk as they come: the filter of RIF-RFT (arXiv 2507.05386)."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from rrft_jax.data.decoding import image_size
from rrft_jax.data.example import Example
from rrft_jax.data.instances import Counts, keeps, read_counts
from rrft_jax.evaluation.predictions import Predictions
from rrft_jax.evaluation.questions import Answerer
from rrft_jax.evaluation.runner import to_questions
from rrft_jax.parallel.processes import all_gather_objects, is_writer, run_on_all
from rrft_jax.rewards.values import Reward

NAME = "rollouts"
MIN_SIDE = 28  # pixels: the original drops records with a smaller picture, or none


def large_enough(example: Example, side: int = MIN_SIDE) -> bool:
    """Whether it has pictures, all of them with sides of at least so many pixels, as far as they can be read."""
    try:
        return bool(example.images) and all(min(image_size(image)) >= side for image in example.images)
    except OSError:
        return False


def count_right(
    examples: Sequence[Example],
    ask: Callable[[Example], str],
    answerer: Answerer,
    reward: Reward,
    folder: Path,
    on_reply: Callable[[int], None] = lambda done: None,
) -> dict[str, Counts]:
    """Leaves rollouts.jsonl in `folder`, a line a record with its texts, correct_count and total_count; returns the
    counts of these examples. Records that the file has are not asked again.

    A rollout is right where `reward` gives 1; one that could not be scored is not counted, neither right nor wrong.
    Every process of a run calls this function; process 0 scores and writes.
    """
    by_id = {example.id: example for example in examples}
    with ExitStack() as stack:
        store = run_on_all(lambda: stack.enter_context(Predictions(folder, NAME)) if is_writer() else None)
        done = all_gather_objects(set(store.records) if store else set())[0]
        on_reply(len(done & by_id.keys()))
        waiting = [question for question in to_questions(examples, ask) if question.id not in done]
        for reply in answerer(waiting) if waiting else ():
            if store:
                example = by_id[reply.id].without_images()
                values = reward(list(reply.texts), [example] * len(reply.texts), [0] * len(reply.texts), 0)
                scored = [value for value in values if value is not None]
                store.add({
                    "id": reply.id, "problem": example.problem, "gold": example.answer, "texts": list(reply.texts),
                    "correct_count": sum(value >= 1 for value in scored), "total_count": len(scored),
                })  # fmt: skip
            done.add(reply.id)
            on_reply(len(done & by_id.keys()))
    counts = run_on_all(lambda: read_counts(folder / f"{NAME}.jsonl"))
    return {name: counts[name] for name in by_id if name in counts}


def histogram(counts: dict[str, Counts]) -> str:
    """How many records had how many right rollouts, and how many are kept, in words."""
    most = max((c.total for c in counts.values()), default=0)
    found = [sum(c.correct == k for c in counts.values()) for k in range(most + 1)]
    kept = sum(keeps(c) for c in counts.values())
    lines = [f"{k} of {most} right: {n} records" for k, n in enumerate(found)]
    return "\n".join([*lines, f"{kept} of {len(counts)} records are kept: at least one rollout was right"])
