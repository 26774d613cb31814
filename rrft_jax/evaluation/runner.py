"""One benchmark: ask what is not answered yet, score each answer as it comes, keep it, sum up."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rrft_jax.data.example import Example
from rrft_jax.evaluation.endpoint import Unanswered
from rrft_jax.evaluation.questions import Answerer
from rrft_jax.evaluation.scoring import score_answers
from rrft_jax.evaluation.summary import prediction, summarise
from rrft_jax.files import write_atomic
from rrft_jax.parallel.processes import all_gather_objects, is_writer, run_on_all
from rrft_jax.rewards.symbolic import Verify
from rrft_jax.rollout.questions import to_questions
from rrft_jax.run.predictions import predictions_of
from rrft_jax.tasks.task import Prediction, Task


def run_benchmark(
    name: str,
    task: Task,
    examples: Sequence[Example],
    ask: Callable[[Example], str],
    answerer: Answerer,
    folder: Path,
    verify: Verify,
    ks: Sequence[int] = (),
    about: Mapping[str, Any] = MappingProxyType({}),
    on_reply: Callable[[int], object] = lambda done: None,
    read: Callable[[str, Example], str] = lambda text, example: text,
) -> dict[str, Any]:
    """Leaves <name>.jsonl (a line per question) and <name>.json (the numbers) in `folder`; returns the numbers.

    about: what the questions are, stored with the numbers. Questions that <name>.jsonl has are not asked again;
    ValueError where it has one of them with another text or reference. on_reply(n): called with the number of questions
    that are done. read(text, example): an answer as it is scored (`tasks.localised.place_reader`); stored as it came.
    Every process of a run calls this function; process 0 scores and writes.
    """
    names = [example.id for example in examples]
    if len(set(names)) < len(names):
        raise ValueError(f"benchmark {name}: the ids of its questions are not distinct")
    with ExitStack() as stack:
        store = run_on_all(lambda: stack.enter_context(predictions_of(folder, name, examples)) if is_writer() else None)
        done = all_gather_objects(set(store.records) if store else set())[0]
        on_reply(len(done & set(names)))
        open_ones = [question for question in to_questions(examples, ask) if question.id not in done]
        by_id = {example.id: example for example in examples}
        failures: dict[str, str] = {}
        try:
            for reply in answerer(open_ones):
                if store:
                    example = by_id[reply.id].without_images()
                    texts = [read(text, example) for text in reply.texts]
                    scores = score_answers(task, texts, [example] * len(texts), verify=verify)
                    store.add(prediction(example, reply, scores))
                done.add(reply.id)
                on_reply(len(done & set(names)))
        except Unanswered as error:  # after all the others were yielded
            failures = error.failures
        if not store:
            return {}
        records = [store.records[n] for n in names if n in store.records]
        if not records:
            raise ValueError(f"benchmark {name}: no question was answered; the first failure: {_first(failures)}")
        numbers = {"benchmark": name, **about, **summarise(records, ks)}
        pairs = [(by_id[record["id"]].without_images(), record["texts"]) for record in records]
        answered = [Prediction(example, [read(text, example) for text in texts]) for example, texts in pairs]
        if whole := task.set_metrics(answered):
            numbers["set_metrics"] = whole
        if len(records) < len(names):
            numbers["unanswered"] = {n: failures.get(n, "not asked") for n in names if n not in store.records}
        write_atomic(folder / f"{name}.json", (json.dumps(numbers, indent=1) + "\n").encode())
        return numbers


def _first(failures: dict[str, str]) -> str:
    return next((f"{name}: {why}" for name, why in failures.items()), "none")
