"""Greedy accuracy on fixed held-out sets, reported separately for answers that reason and those that do not."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rrft_jax.answers.tags import opens_thought
from rrft_jax.parallel.processes import all_gather_objects, local_rows
from rrft_jax.processing.processor import Processor, decode
from rrft_jax.rewards import RewardSet
from rrft_jax.rollout.sampler import Rollouts
from rrft_jax.run.completions import Group
from rrft_jax.tasks.task import Prediction
from rrft_jax.training.batches import Batches, HostBatch


def evaluate_held_out(
    generate: Callable,
    params: dict,
    processor: Processor,
    rewards: RewardSet,
    sets: Mapping[str, Batches],
    metric: str = "accuracy",
    stop: Callable[[], bool] = lambda: False,
    set_metrics: Callable[[Sequence[Prediction]], Mapping[str, float]] = lambda predictions: {},
    log: Callable[[list[Group]], None] = lambda groups: None,
    logged: int = 0,
    first: Callable[[HostBatch, Rollouts], None] = lambda batch, drawn: None,
    step: int = 0,
) -> dict[str, float] | None:
    """Metrics '<set>/<name>' over the held-out sets; None if stop(), called after every batch, returned True.

    generate(params, prompts) -> Rollouts with G = 1. sets: name -> HostBatches; rows of weight 0 are left out.
    Each process decodes and scores its own rows; the metrics are over all of them, alike everywhere.
    rewards: holds `metric`, whose value 1 is a right answer, and 'format': the rewards of training, so the parser is
    the same. score is the mean of `metric`, which differs from accuracy if the metric gives partial credit.
    log: takes the first `logged` questions of each set with their answers, in every process. first: takes the first
    batch of the first set with what was generated for it.
    set_metrics: the task's own metrics of a whole set, by name. questions is the number that all are over.
    step: of the training, for the rewards: one that needs a server stops the run at step 0 if it is out of reach; later
    its answers count as wrong, and unscored says how many.
    accuracy_reasoned and accuracy_direct are over the answers that open a <think> and those that do not (NaN: none).
    """
    rewards = rewards.only(metric, "format")  # others may cost time and money, and nothing here reads them
    answers = _answers(generate, params, processor, sets, stop, first)
    if answers is None:
        return None
    metrics, groups = {}, []
    for name, (numbers, texts, examples, lengths) in answers.items():
        values = _values(rewards, texts, examples, step)
        own = list(zip(numbers, values[metric], values["format"], texts, lengths, examples, strict=True))
        if logged:
            shown = [_group(name, sets[name][0], metric, row) for row in own if row[0] < (0, logged)]
            groups += sorted(
                (group for part in all_gather_objects(shown) for group in part), key=lambda group: group.prompt_id
            )
        rows = sorted((row for part in all_gather_objects(own) for row in part), key=lambda row: row[0])
        _, scores, form, texts, lengths, examples = map(list, zip(*rows, strict=True))
        missing = np.isnan(scores)
        scores = np.nan_to_num(scores)
        right = scores >= 1.0
        reasons = np.array([opens_thought(text) for text in texts])
        share = lambda hits, among: float(hits[among].mean()) if among.any() else float("nan")  # noqa: E731
        predictions = [Prediction(example, (text,)) for example, text in zip(examples, texts, strict=True)]
        metrics |= {f"{name}/{key}": value for key, value in set_metrics(predictions).items()}
        if missing.any():
            metrics[f"{name}/unscored"] = float(missing.sum())
        metrics |= {
            f"{name}/accuracy": float(right.mean()),
            f"{name}/questions": float(len(right)),
            f"{name}/score": float(np.mean(scores)),
            f"{name}/format": float(np.nan_to_num(form).mean()),
            f"{name}/reasons": float(reasons.mean()),
            f"{name}/accuracy_reasoned": share(right, reasons),
            f"{name}/accuracy_direct": share(right, ~reasons),
            f"{name}/mean_length": float(np.mean(lengths)),
        }
    if groups:
        log(groups)
    return metrics


def _group(name: str, batch: HostBatch, metric: str, row: tuple) -> Group:
    """A row of the first batch of a set, for the log, with its pictures."""
    (_, place), *values, text, length, example = row
    score, form = (None if np.isnan(value) else float(value) for value in values)
    at = batch.layout.mine.tolist().index(place)
    return Group(
        prompt_id=place, example_id=example.id, prompt=batch.texts[at], answer=example.answer, completions=[text],
        images=batch.examples[at].images, rewards={metric: [score], "format": [form]}, reward=[score],
        lengths=[length], task=name, metadata=example.metadata,
    )  # fmt: skip


def _answers(
    generate: Callable, params: dict, processor: Processor, sets: Mapping[str, Batches], stop: Callable[[], bool],
    first: Callable[[HostBatch, Rollouts], None],
) -> dict[str, tuple[list, list, list, list]] | None:
    """Set -> the place of each row, its text, its example and its length in tokens, of this process's own rows."""
    queue = [(name, k) for name, batches in sets.items() for k in range(len(batches))]
    answers = {name: ([], [], [], []) for name in sets}
    take = lambda place: sets[queue[place][0]][queue[place][1]]  # noqa: E731
    if not queue:
        return answers
    batch = take(0)
    drawn = generate(params, batch.prompts)
    for place, (name, k) in enumerate(queue, 1):
        layout = batch.layout
        following = take(place) if place < len(queue) else None  # made, the first time, while the devices work
        if place == 1:
            first(batch, drawn)
        tokens, mask = (local_rows(x, layout.mine)[:, 0] for x in (drawn.tokens, drawn.mask))
        if following is not None:
            if stop():
                return None
            drawn = generate(params, following.prompts)  # while the answers of this batch are decoded
        numbers, texts, examples, lengths = answers[name]
        for i in np.flatnonzero((batch.row_weight > 0) & layout.owned):
            numbers.append((k, int(layout.mine[i])))
            texts.append(decode(processor, tokens[i]))
            examples.append(batch.examples[i].without_images())
            lengths.append(int(mask[i].sum()))
        batch = batch if following is None else following
    return answers


def _values(rewards: RewardSet, texts: list[str], examples: list, step: int) -> dict[str, np.ndarray]:
    """Reward name -> float64[N], NaN where there is no value; N = 0 where this process holds padding alone."""
    if not texts:
        return {item.name: np.zeros(0) for item in rewards.rewards}
    scored = rewards.score(texts, examples, list(range(len(texts))), step)
    return dict(zip(scored.names, scored.values, strict=True))
