"""The driver of a training, whatever the algorithm. Order of a start: resume, else init; then evaluate, train, save,
evaluate, export."""

import fnmatch
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from absl import logging
from jax import process_count, set_mesh
from ml_collections import ConfigDict

from rrft_jax.config.task_choice import settle_task
from rrft_jax.config.upgrade import upgrade
from rrft_jax.files import write_lines
from rrft_jax.parallel.placement import to_devices
from rrft_jax.parallel.processes import ElsewhereError, all_gather_objects, is_writer, print_once, run_on_all
from rrft_jax.pretrained import export, export_adapter
from rrft_jax.report import report_of_run
from rrft_jax.rewards import Pool, symbolic
from rrft_jax.run.again import differences, record_data
from rrft_jax.run.checkpoints import Checkpoints
from rrft_jax.run.clock import Clock, cpu_seconds
from rrft_jax.run.journal import Journal
from rrft_jax.run.profiler import Profiler
from rrft_jax.run.report import eval_line, finish_run, result_table
from rrft_jax.run.resume import resume_hint
from rrft_jax.run.room import naming_full_disk
from rrft_jax.run.workdir import ADAPTER, EXPORT, FILTER, open_workdir, resolve_config
from rrft_jax.tasks.localised import place_reader
from rrft_jax.tasks.registry import get_task
from rrft_jax.tasks.task import Prediction
from rrft_jax.training.algorithm import Run
from rrft_jax.training.critic import without_head
from rrft_jax.training.exchanged import Exchange
from rrft_jax.training.filtering import count_rollouts
from rrft_jax.training.held_out import evaluate_held_out
from rrft_jax.training.interrupt import GracefulStop
from rrft_jax.training.parameters import combine
from rrft_jax.training.preset_choice import settle_preset
from rrft_jax.training.setup import set_up
from rrft_jax.training.state import TrainState, restore, save
from rrft_jax.training.step import make_state
from rrft_jax.training.validate import check_config

# Fields that an unfinished run may change: what decides no result, and how it is computed, which moves last bits.
HARMLESS = ("log.*", "checkpoint.*", "train.max_skipped")
LAST_BITS = (
    "mesh.*", "train.micro_batches", "train.group_chunks", "model.remat", "model.logits_chunk", "model.attention",
    "optimizer.offload",
)  # fmt: skip
# How a server is reached that a reward asks; not what it is asked.
REACHED = tuple(
    f"reward_options.*.{option}"
    for option in (
        "url", "api_key_env", "cache", "timeout", "attempts", "concurrency", "requests_per_minute", "give_up"
    )
)  # fmt: skip
MAY_CHANGE = tuple(f"{stage}{name}" for stage in ("", "stage1.") for name in HARMLESS + LAST_BITS + REACHED)


class DivergedError(RuntimeError):
    """Too many updates in a row were not finite."""


@dataclass(frozen=True)
class Outside:
    """The loop's writers, and the signals that may stop it. path: the run directory. earlier: CPU-seconds of former
    sessions."""

    path: Path
    checkpoints: Checkpoints
    journal: Journal
    stop: GracefulStop
    profiler: Profiler
    earlier: float


def train(
    config: ConfigDict,
    workdir: str | Path,
    argv: list[str] | None = None,
    profile_steps: range = range(0),
    began: float = 0.0,
    stop: GracefulStop | None = None,
    like: str | Path = "",
) -> int:
    """Runs or resumes a training; returns the exit code: 0 done, or stopped by SIGTERM after saving (then the workdir
    has no DONE file); 130 stopped by Ctrl-C after saving.

    Every process of the run calls it with the same config; the workdir is the one that process 0 names. profile_steps:
    consecutive steps to trace. began: `cpu_seconds` that this process had used for something else before. stop: a
    context, already entered, that watches for signals.
    """
    config = config.copy_and_resolve_references()  # config.train.epochs becomes a number of steps
    if chosen := run_on_all(lambda: settle_task(config)):
        print_once(chosen)
    if chosen := run_on_all(lambda: settle_preset(config)):
        print_once(chosen)
    run_on_all(lambda: check_config(config))
    if len(set(all_gather_objects(repr(resolve_config(config))))) > 1:
        raise ValueError("the processes of this run have different configs: start all of them with the same command")
    run_dir = run_on_all(lambda: open_workdir(workdir, config, MAY_CHANGE, upgrade) if is_writer() else None)
    here = (run_dir.path, run_dir.resumed, run_dir.finished) if run_dir is not None else (Path(workdir), False, False)
    path, resumed, finished = all_gather_objects(here)[0]
    titles = get_task(config.task).titles()
    if finished:
        if is_writer():
            table = result_table(path, titles)
            print(f"{path} holds a finished run:\n{table}\nGive another --workdir to start a new one.")
        return 0
    for note in (*run_dir.notes, *_moved(run_dir.changed)) if run_dir is not None else ():
        logging.warning("resuming under other conditions, so the last bits may differ: %s", note)
    with ExitStack() as stack:
        stop = stop or stack.enter_context(GracefulStop())
        if process_count() == 1 and stop.signal is None:  # several stop together, between two steps
            hint = resume_hint(argv or sys.argv, path)
            what = "stopped; nothing new to save. To resume" if resumed else "stopped before the first step; to start"
            stop.at_once = f"{what}:\n  {hint}"
        pool = stack.enter_context(Pool(initializer=symbolic.load))
        try:
            with naming_full_disk(path):
                counts = count_rollouts(config, path / FILTER, pool) if config.data.filter_rollouts else None
                run, trainable = run_on_all(lambda: set_up(config, pool, counts))
        except (ValueError, OSError, RuntimeError):  # the last: another process failed, or the memory of a device
            if run_dir is not None and not resumed:  # nothing has run: the corrected command may use the same --workdir
                run_dir.abandon()
            raise
        stack.enter_context(set_mesh(run.mesh))
        pixels = [run.processor.min_pixels, run.processor.max_pixels]
        state = TrainState(make_state(trainable, run.programs.optimizer, run.mesh, config.optimizer.offload), pixels)
        del trainable
        checkpoints = stack.enter_context(
            Checkpoints(path / "checkpoints", config.checkpoint.keep_last, config.checkpoint.keep_best)
        )
        journal = stack.enter_context(Journal(path, config.log.sinks, config.to_dict()))
        if checkpoints.latest_step() is not None:
            state = restore(checkpoints, state, config, run.algorithm, len(run.rewards.rewards))
            run_on_all(lambda: _check_pixels(state.pixels, pixels, path, config.init))
            print_once(f"resuming {path} at step {state.step} of {config.train.steps}")
        earlier = state.cpu_seconds - began
        profiler = stack.enter_context(Profiler(path, profile_steps))
        try:
            with naming_full_disk(path):
                journal.cut_back(state.step if state.step else -1, state.unevaluated is not None)
                if is_writer() and run.source.skipped:
                    write_lines(path / "skipped.jsonl", run.source.skipped)
                if is_writer():
                    _compare(path, run, like if not resumed else "")
                _loop(run, state, Outside(path, checkpoints, journal, stop, profiler, earlier))
                journal.flush()
                if state.step < config.train.steps or state.unevaluated is not None:
                    what = "stopped before the first step; to start"
                    if state.step:
                        what = f"stopped and saved at step {state.step}; to resume"
                    print_once(f"\n{what}:\n  {resume_hint(argv or sys.argv, path)}")
                    return stop.exit_code
                params = without_head(combine(state.params, run.frozen))
                export(path / EXPORT, run.model, params, run.processor, "bfloat16")
                if config.lora.rank:
                    export_adapter(path / ADAPTER, params, config.init)
        except (ValueError, OSError, RuntimeError) as error:
            kept = checkpoints.latest_step()
            what = f"saved up to step {kept}; to resume from there" if kept else "nothing is saved yet; to start again"
            error.add_note(f"{what}:\n  {resume_hint(argv or sys.argv, path)}")
            raise
    if run_dir is not None:
        draw = report_of_run if config.log.report else lambda path: None
        with naming_full_disk(path):
            finish_run(run_dir, state.num_tokens, earlier, titles, draw)
    return 0


def _loop(run: Run, state: TrainState, outside: Outside) -> None:
    """Trains `state` in place up to config.train.steps, or until a signal, and saves it."""
    config, total, updates = run.config, run.config.train.steps, run.algorithm.updates(run.config)
    checkpoints, journal, profiler = outside.checkpoints, outside.journal, outside.profiler
    shown = run.algorithm.shown(config, run.task)
    progress = journal.progress(total, state.step, config.log.progress_every, shown)
    with progress, Clock() as clock, ExitStack() as waiting:
        if state.step == 0 and not asked_to_stop(outside.stop):
            with journal.busy("step 0: compiling the sampler and answering the held-out questions"):
                before = _held_out(run, state, outside)
            if before is not None:
                journal.write(0, before)
            if before:
                journal.note(eval_line(0, before))
        if state.unevaluated is not None:
            if (scores := _held_out(run, state, outside)) is None:
                return
            journal.write(state.step, state.unevaluated | scores)
            journal.note(eval_line(state.step, scores))
            journal.flush()
            checkpoints.add_metric(state.step, scores["eval/accuracy"])
            state.unevaluated = None
        feed = run.algorithm.feed(run, clock, state.step, state.in_flight)
        state.in_flight = None  # the feed has it
        saved, drawn, noted = state.step, {}, None
        waiting.enter_context(journal.busy(f"step {state.step + 1}: compiling, then the first update"))
        clock.start()
        while state.step < total and not asked_to_stop(outside.stop):
            profiler.before(state.step + 1)
            ready, record, groups = feed.take(combine(state.params, run.frozen), state.step)
            drawn = record or drawn  # of the batch that this update is taken on
            clock.lap("batch")
            outside.stop.at_once = None  # from here on there is something to save
            state.arrays, trained = run.programs.step(state.arrays, run.frozen, ready)
            del ready  # frees its arrays before the next batch's, or an evaluation's, are made
            clock.watch(trained)
            feed.work_ahead()
            record = record | {name: float(value) for name, value in trained.items()}
            waiting.close()
            clock.lap("update")
            record |= clock.finish()
            state.step += 1
            step = state.step
            record |= _counters(record, state, run)
            if run.source.epochs:
                record["epoch"] = run.source.epochs(-(-step // updates))
            profiler.after(step)
            if groups and _due(step, updates, config.log.completions_every, total):
                journal.write_completions(step, [group for part in all_gather_objects(groups) for group in part])
            accuracy = None
            if run.source.held_out and (step == total or config.eval.every and step % config.eval.every == 0):
                scores = _held_out(run, state, outside)
                if scores is None:
                    state.unevaluated = record
                else:
                    accuracy = scores["eval/accuracy"]
                    record |= scores
                    journal.note(eval_line(step, scores))
            state.cpu_seconds = outside.earlier + cpu_seconds()
            if state.unevaluated is None:  # else the run that resumes here writes it, with what is missing
                journal.write(step, record)
            if accuracy is not None and step < total and config.log.report and is_writer():
                if (note := report_of_run(outside.path)) and not noted:
                    journal.note(note)
                noted = noted or note
            journal.update(step, drawn | record)
            check_finite(state, config.train.max_skipped)
            if step % config.checkpoint.every == 0 or step == total or accuracy is not None:
                journal.flush()
                save(checkpoints, state, feed.in_flight(), accuracy)
                saved = step
            clock.start()
        if saved < state.step:  # stopped by a signal, which may have come at any time since the last save
            journal.flush()
            save(checkpoints, state, feed.in_flight())


def _held_out(run: Run, state: TrainState, outside: Outside) -> dict[str, float] | None:
    """Metrics of the held-out sets; None where a signal came."""
    # A batch goes to the devices when its turn comes: all held-out pictures at once could fill them.
    greedy = lambda params, prompts: run.programs.greedy(params, to_devices(prompts, run.mesh))  # noqa: E731
    params, exchange = combine(state.params, run.frozen), Exchange(greedy, run.processor, run.rewards, run.task.metric)
    metrics = evaluate_held_out(
        greedy, params, run.processor, run.rewards, run.source.held_out, run.task.metric,
        lambda: asked_to_stop(outside.stop), lambda predictions: run.task.set_metrics(_as_read(run, predictions)),
        lambda groups: outside.journal.write_held_out(state.step, groups), run.config.log.held_out_prompts,
        exchange.own, state.step,
    )  # fmt: skip
    if metrics and run.config.log.exchanged_pictures and run.source.exchanged is not None:
        if (batch := run_on_all(run.source.exchanged)) is not None:
            metrics |= exchange.metrics(params, batch, state.step)
    return metrics


def _as_read(run: Run, predictions: Sequence[Prediction]) -> list[Prediction]:
    """Predictions with their places in the task's own convention, where the metric's options say that completions have
    them in another and the task can rewrite it."""
    if run.task.rewrite is None:  # perhaps the user's own, whose `summarise` reads them as they are
        return list(predictions)
    options = run.config.reward_options.get(run.task.metric, {})
    of = run.processor
    own = {"min_pixels": of.min_pixels, "max_pixels": of.max_pixels, "token_side": of.patch_size * of.merge_size}
    read = place_reader(run.task, options.get("coordinates", ""), *(options.get(key, own[key]) for key in own))
    return [Prediction(example, [read(text, example) for text in texts]) for example, texts in predictions]


def asked_to_stop(stop: GracefulStop) -> bool:
    """Whether any process got a signal: all of them stop at the same place."""
    agreed = next((signal for signal in all_gather_objects(stop.signal) if signal is not None), None)
    if agreed is not None:  # a signal that comes during the gathering is for the next one, and must not be lost
        stop.signal = agreed
    return agreed is not None


def _due(step: int, updates: int, every: int, total: int) -> bool:
    """Whether the completions of the batch whose first update is `step` are written: of the first batch, of the last,
    and of those in whose updates a multiple of `every` lies."""
    return step == 1 or step + updates > total or (step + updates - 1) // every > (step - 1) // every


def _compare(path: Path, run: Run, like: str | Path) -> None:
    """Records what the run is trained on, and says how it differs from the run `like` which it repeats, if any."""
    for note in record_data(path, run.source.digest, run.source.records):
        logging.warning("%s", note)
    if like:
        found = differences(path, Path(like).expanduser().absolute(), upgrade)
        print(f"repeats {like}" + (", but for:\n  " + "\n  ".join(found) if found else ": all is as it was"))


def _moved(changed: Mapping[str, tuple]) -> list[str]:
    """In words, what a resume computes differently from the session before."""
    return [
        f"config.{name}: {old} -> {new}"
        for name, (old, new) in changed.items()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in LAST_BITS)
    ]


def _check_pixels(stored: list[int], given: list[int], path: Path, init: str) -> None:
    if stored != given:
        raise ValueError(
            f"{path} was trained with min_pixels, max_pixels = {stored}, and {init} now says {given}: set "
            "config.processor.min_pixels and max_pixels, or restore preprocessor_config.json"
        )


def _counters(record: Mapping[str, float], state: TrainState, run: Run) -> dict[str, float]:
    """Tokens so far, and tokens per second of a step that drew or read them."""
    if "num_tokens" not in record:
        return {"num_tokens": state.num_tokens}
    state.num_tokens += record["num_tokens"]
    rows = run.config.train.prompts * run.algorithm.group(run.config)
    speed = record["completions/mean_length"] * rows / record["step_time"]
    return {"num_tokens": state.num_tokens, "tokens_per_second": speed}


def check_finite(state: TrainState, max_skipped: int) -> None:
    """Raises DivergedError after so many updates in a row that were not finite."""
    skipped = int(state.arrays["skipped"])
    if skipped >= max_skipped:
        if not is_writer():
            raise ElsewhereError(f"step {state.step}: the run diverged, as process 0 says")
        raise DivergedError(
            f"step {state.step}: {skipped} updates in a row were not finite, so training stopped. Raise "
            "config.train.max_skipped to resume from the last checkpoint, or start a new --workdir with a lower "
            "config.optimizer.schedule.peak"
        )
