"""Counts of right rollouts for every record, kept on disk as they come: the filter of RIF-RFT (arXiv 2507.05386)."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from rrft_jax.data.decoding import image_size
from rrft_jax.data.example import Example
from rrft_jax.data.instances import Counts, keeps
from rrft_jax.parallel.processes import all_gather_objects, is_writer, run_on_all
from rrft_jax.rewards.values import Reward
from rrft_jax.rollout.questions import BatchAnswerer, to_questions
from rrft_jax.run.predictions import predictions_of

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
    answerer: BatchAnswerer,
    reward: Reward,
    folder: Path,
    on_reply: Callable[[int], object] = lambda done: None,
) -> dict[str, Counts]:
    """Leaves rollouts.jsonl in `folder`, a line a record with its texts, correct_count and total_count; returns the
    counts of these examples. The file's records are not asked again, but for those of a batch that was interrupted:
    after an interruption it gets the bits that it would have had without. ValueError where it has another question or
    reference under an example's id.

    A rollout is right where `reward` gives 1; one that could not be scored is not counted, neither right nor wrong.
    on_reply(n): called with the number of examples that are counted. Every process of a run calls this function;
    process 0 scores and writes.
    """
    by_id = {example.id: example for example in examples}
    with ExitStack() as stack:
        opened = lambda: stack.enter_context(predictions_of(folder, NAME, examples))  # noqa: E731
        store = run_on_all(lambda: opened() if is_writer() else None)
        done = all_gather_objects(set(store.records) if store else set())[0] & by_id.keys()
        on_reply(len(done))
        waiting = len(by_id) - len(done)
        for reply in answerer(to_questions(examples, ask), frozenset(done)) if waiting else ():
            if store:
                example = by_id[reply.id].without_images()
                values = reward(list(reply.texts), [example] * len(reply.texts), [0] * len(reply.texts), 0)
                scored = [value for value in values if value is not None]
                store.add({
                    "id": reply.id, "problem": example.problem, "gold": example.answer, "texts": list(reply.texts),
                    "correct_count": sum(value >= 1 for value in scored), "total_count": len(scored),
                })  # fmt: skip
            done.add(reply.id)
            on_reply(len(done))
        kept = {name: store.records[name] for name in by_id} if store else {}
    counts = {name: Counts(int(r["correct_count"]), int(r["total_count"])) for name, r in kept.items()}
    return all_gather_objects(counts)[0]


def histogram(counts: dict[str, Counts], drop_always_right: bool = False) -> str:
    """How many records had how many right rollouts, and how many are kept, in words."""
    most = max((c.total for c in counts.values()), default=0)
    found = [sum(c.correct == k for c in counts.values()) for k in range(most + 1)]
    kept = sum(keeps(c, drop_always_right) for c in counts.values())
    lines = [f"{k} of {most} right: {n} records" for k, n in enumerate(found)]
    why = "at least one rollout was right" + (", and not all" if drop_always_right else "")
    return "\n".join([*lines, f"{kept} of {len(counts)} records are kept: {why}"])
