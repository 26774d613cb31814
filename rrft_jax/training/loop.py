"""The driver of both loops. Order of a start: resume, else init; then evaluate, train, save, evaluate, export."""

import fnmatch
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.data.loader import make_loader
from rrft_jax.files import write_lines
from rrft_jax.models.qwen2_vl.config import read_config
from rrft_jax.models.qwen2_vl.model import Qwen2VL
from rrft_jax.models.qwen2_vl.weights import abstract_params
from rrft_jax.parallel.layout import plan
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.parallel.placement import to_devices
from rrft_jax.parallel.processes import ElsewhereError, exchange, is_writer, say, together
from rrft_jax.pretrained import export, export_adapter, load_init, resolve_init
from rrft_jax.processing.buckets import describe
from rrft_jax.processing.processor import Processor
from rrft_jax.rewards import Pool, RewardSet, symbolic
from rrft_jax.run.checkpoints import Checkpoints, released
from rrft_jax.run.clock import Clock, cpu_seconds
from rrft_jax.run.journal import Journal
from rrft_jax.run.metrics import from_json, to_json
from rrft_jax.run.profiler import Profiler
from rrft_jax.run.progress import SHOWN
from rrft_jax.run.report import eval_line, finish, result_table
from rrft_jax.run.resume import resume_hint
from rrft_jax.run.workdir import ADAPTER, CONFIG, EXPORT, open_workdir, resolve_config
from rrft_jax.tasks.registry import Task, get_task
from rrft_jax.training.feed import AheadFeed, Feed, InFlight, restore, save
from rrft_jax.training.grpo import draw_batch, score_batch, unscored_batch
from rrft_jax.training.held_out import evaluate
from rrft_jax.training.interrupt import GracefulStop
from rrft_jax.training.parameters import combine, load_weights, parameter_count
from rrft_jax.training.programs import Programs, make_programs, step_layout
from rrft_jax.training.rewarding import make_rewards
from rrft_jax.training.sft import sft_batch
from rrft_jax.training.source import Source, make_source
from rrft_jax.training.step import make_state
from rrft_jax.training.validate import check_config

UNEVALUATED = "unevaluated"  # in the host state: the metrics of a step that was saved before it was evaluated
# Fields that an unfinished run may change: what decides no result, and how it is computed, which moves last bits.
HARMLESS = ("log.*", "checkpoint.*", "train.max_skipped")
LAST_BITS = (
    "mesh.*", "train.micro_batches", "train.group_chunks", "model.remat", "model.logits_chunk", "model.attention"
)  # fmt: skip
MAY_CHANGE = tuple(f"{stage}{name}" for stage in ("", "stage1.") for name in HARMLESS + LAST_BITS)
SFT_SHOWN = (("loss", "loss", "{:.4f}"), ("grad", "grad_norm", "{:.2f}"), ("tok/s", "tokens_per_second", "{:,.0f}"))


class DivergedError(RuntimeError):
    """Too many updates in a row were not finite."""


@dataclass(frozen=True)
class Run:
    """What does not change during a run."""

    config: ConfigDict
    task: Task
    model: Qwen2VL
    processor: Processor
    mesh: Mesh
    source: Source
    programs: Programs
    rewards: RewardSet
    frozen: dict
    reference: dict | None


def train(
    config: ConfigDict,
    workdir: str | Path,
    argv: list[str] | None = None,
    profile_steps: Sequence[int] = (),
    began: float = 0.0,
    stop: GracefulStop | None = None,
) -> int:
    """Runs or resumes a training; returns the exit code: 0 done, or stopped by SIGTERM after saving (then the workdir
    has no DONE file); 130 stopped by Ctrl-C after saving.

    Every process of the run calls it with the same config; the workdir is the one that process 0 names. profile_steps:
    consecutive steps to trace. began: `cpu_seconds` that this process had used for something else before. stop: an
    entered context that watches for signals already.
    """
    config = config.copy_and_resolve_references()  # config.train.epochs becomes a number of steps
    together(lambda: check_config(config))
    if len(set(exchange(repr(resolve_config(config))))) > 1:
        raise ValueError("the processes of this run have different configs: start all of them with the same command")
    run_dir = together(lambda: open_workdir(workdir, config, MAY_CHANGE) if is_writer() else None)
    path, resumed, finished = exchange(run_dir and (run_dir.path, run_dir.resumed, run_dir.finished))[0]
    if finished:
        if is_writer():
            print(f"{path} holds a finished run:\n{result_table(path)}\nGive another --workdir to start a new one.")
        return 0
    for note in (*run_dir.notes, *_moved(run_dir.changed)) if is_writer() else ():
        logging.warning("resuming under other conditions, so the last bits may differ: %s", note)
    with ExitStack() as stack:
        stop = stop or stack.enter_context(GracefulStop())
        pool = stack.enter_context(Pool(initializer=symbolic.load))
        try:
            run, trainable = together(lambda: _start(config, pool))
        except (ValueError, OSError, RuntimeError):  # the last: another process failed, or the memory of a device
            if is_writer() and not resumed:  # nothing has run: the corrected command may use the same --workdir
                (path / CONFIG).unlink()
            raise
        stack.enter_context(jax.set_mesh(run.mesh))
        state = make_state(trainable, run.programs.optimizer, run.mesh)
        del trainable
        checkpoints = stack.enter_context(
            Checkpoints(path / "checkpoints", config.checkpoint.keep_last, config.checkpoint.keep_best)
        )
        journal = stack.enter_context(Journal(path, config.log.tensorboard))
        pixels = [run.processor.min_pixels, run.processor.max_pixels]
        # cpu_seconds: of this and all former sessions. pixels: the limits that pictures were resized to.
        step, in_flight, host = 0, None, {"num_tokens": 0, "cpu_seconds": 0.0, "pixels": pixels}
        if checkpoints.latest_step() is not None:
            state, host, step, in_flight = restore(
                checkpoints, released(state), config, rewards=len(run.rewards.rewards)
            )
            together(lambda: _check_pixels(host["pixels"], pixels, path, config.init))
            say(f"resuming {path} at step {step} of {config.train.steps}")
        earlier = host["cpu_seconds"] - began
        journal.cut_back(step if step else -1, UNEVALUATED in host)
        profiler = stack.enter_context(Profiler(path, profile_steps))
        if is_writer() and run.source.skipped:
            write_lines(path / "skipped.jsonl", run.source.skipped)
        try:
            state, step = _loop(run, state, step, host, earlier, in_flight, checkpoints, journal, stop, profiler)
        except (ValueError, OSError, RuntimeError) as error:
            kept = checkpoints.latest_step()
            what = f"saved up to step {kept}; to go on from there" if kept else "nothing is saved yet; to start again"
            error.add_note(f"{what}:\n  {resume_hint(argv or sys.argv, path)}")
            raise
        journal.flush()
        if step < config.train.steps or UNEVALUATED in host:
            what = f"stopped and saved at step {step}; to resume" if step else "stopped before the first step; to start"
            say(f"\n{what}:\n  {resume_hint(argv or sys.argv, path)}")
            return stop.exit_code
        params = combine(state["params"], run.frozen)
        export(path / EXPORT, run.model, params, run.processor, "bfloat16")
        if config.lora.rank:
            export_adapter(path / ADAPTER, params, config.init)
    if is_writer():
        finish(run_dir, host["num_tokens"], earlier)
    return 0


def _start(config: ConfigDict, pool: Pool) -> tuple[Run, dict]:
    task = get_task(config.task)
    mesh = make_mesh(**config.mesh, kv_heads=read_config(resolve_init(config.init)).num_kv_heads)
    step = step_layout(config, mesh)
    model, processor = load_init(config)
    count = parameter_count(abstract_params(model.config))
    platform = jax.devices()[0].platform
    where = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    say(f"{config.algorithm} from {config.init}: {count:,} parameters on {mesh.size} {platform} device(s){where}")
    source = make_source(config, task, processor, step, partial(plan, mesh))
    say("\n".join(filter(None, (source.report, describe(processor, source.sizes), step.describe()))))
    if config.train.epochs:
        config.train.steps = math.ceil(config.train.epochs * source.records / config.train.prompts)
        say(f"{config.train.epochs:g} epochs of {source.records} examples: {config.train.steps} steps")
    programs = make_programs(config, model, processor, step)
    rewards = make_rewards(config, task, processor.tokenizer, pool)
    weights = load_weights(config, model, mesh)
    if config.lora.rank:
        say(f"LoRA of rank {config.lora.rank}: {parameter_count(weights.trainable):,} parameters are trained")
    frozen, reference = weights.frozen, weights.reference
    return Run(config, task, model, processor, mesh, source, programs, rewards, frozen, reference), weights.trainable


def _moved(changed: Mapping[str, tuple]) -> list[str]:
    """What a resume computes in another way than the session before, in words."""
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


def _loop(run: Run, state, step, host, earlier, in_flight, checkpoints, journal, stop, profiler) -> tuple[dict, int]:
    config = run.config
    total = config.train.steps
    eval_sets = run.source.held_out

    def held_out() -> dict[str, float] | None:
        """None where a signal came."""
        params = combine(state["params"], run.frozen)
        # A batch goes to the devices when its turn comes: all held-out pictures at once could fill them.
        greedy = lambda params, prompts: run.programs.greedy(params, to_devices(prompts, run.mesh))  # noqa: E731
        return evaluate(
            greedy, params, run.processor, run.rewards, eval_sets, run.task.metric, lambda: asked_to_stop(stop)
        )

    shown = SHOWN if config.algorithm == "grpo" else SFT_SHOWN
    with journal.progress(total, step, config.log.progress_every, shown), Clock() as clock:
        if step == 0 and not asked_to_stop(stop) and (before := held_out()) is not None:
            journal.write(0, before)
            if before:
                journal.note(eval_line(0, before))
        if UNEVALUATED in host:
            if (scores := held_out()) is None:
                return state, step
            journal.write(step, from_json(host.pop(UNEVALUATED)) | scores)
            journal.note(eval_line(step, scores))
            journal.flush()
            checkpoints.add_metric(step, scores["eval/accuracy"])
        feed = _make_feed(run, state, step, in_flight, clock)
        saved = step
        clock.start()
        while step < total and not asked_to_stop(stop):
            profiler.before(step + 1)
            ready, record, groups = feed.take(combine(state["params"], run.frozen), step)
            clock.lap("batch")
            state, trained = run.programs.step(state, run.frozen, ready)
            del ready  # else its arrays would lie beside the next batch's, and beside an evaluation
            clock.watch(trained)
            feed.work_ahead()
            record |= {name: float(value) for name, value in trained.items()}
            clock.lap("update")
            record |= clock.finish()
            step += 1
            record |= _counters(record, host, config)
            if run.source.epochs:
                record["epoch"] = run.source.epochs(step)
            profiler.after(step)
            if step == 1 or step % config.log.completions_every == 0 or step == total:
                journal.write_completions(step, [group for part in exchange(groups) for group in part])
            accuracy = None
            if eval_sets and (step == total or config.eval.every and step % config.eval.every == 0):
                scores = held_out()
                if scores is None:
                    host[UNEVALUATED] = to_json(record)
                else:
                    accuracy = scores["eval/accuracy"]
                    record |= scores
                    journal.note(eval_line(step, scores))
            host["cpu_seconds"] = earlier + cpu_seconds()
            if UNEVALUATED not in host:  # else the run that goes on from here writes it, with what is missing
                journal.write(step, record)
            journal.update(step, record)
            _check_finite(state, config, step)
            if step % config.checkpoint.every == 0 or step == total or accuracy is not None:
                journal.flush()
                save(checkpoints, step, state, host, feed.in_flight(), accuracy)
                saved = step
            clock.start()
        if saved < step:  # stopped by a signal, which may have come at any time since the last save
            journal.flush()
            save(checkpoints, step, state, host, feed.in_flight())
    return state, step


def asked_to_stop(stop: GracefulStop) -> bool:
    """Whether any process got a signal: all of them stop at the same place."""
    agreed = next((signal for signal in exchange(stop.signal) if signal is not None), None)
    if agreed is not None:  # a signal that comes during the exchange is for the next one, and must not be lost
        stop.signal = agreed
    return agreed is not None


def _make_feed(run: Run, state: dict, step: int, in_flight: InFlight | None, clock: Clock) -> Feed:
    config, batches = run.config, make_loader(run.source.fetch, step, run.config.train.steps, prefetch=2, threads=2)
    if config.algorithm == "sft":
        make = partial(sft_batch, config, run.task, run.processor, run.mesh)
        return Feed(batches, lambda params, host, t: (*make(host), []), clock)

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)
    lowered = set()

    def draw(params, host, t, stored=None):
        drawn = draw_batch(config, run.programs, run.mesh, params, run.reference, host, t, clock, stored)
        bucket = host.prompts.tokens.shape, host.prompts.patches.shape
        if bucket not in lowered:
            # The step is traced and lowered while the devices draw: seconds of the host alone. Compiling waits for its
            # turn, since a GPU's compiler times kernels on the device.
            run.programs.step.lower(shapes, run.frozen, unscored_batch(config, run.mesh, drawn))
            lowered.add(bucket)
        return drawn

    score = partial(score_batch, config, run.processor, run.rewards, run.mesh, clock)
    if config.rollout.ahead:
        return AheadFeed(batches, draw, score, clock, in_flight)
    return Feed(batches, lambda params, host, t: score(draw(params, host, t)).ready(), clock)


def _counters(record, host, config) -> dict[str, float]:
    rows = config.train.prompts * (config.rollout.group if config.algorithm == "grpo" else 1)
    host["num_tokens"] += record["num_tokens"]
    return {
        "num_tokens": host["num_tokens"],
        "tokens_per_second": record["completions/mean_length"] * rows / record["step_time"],
    }


def _check_finite(state, config, step) -> None:
    skipped = int(state["skipped"])
    if skipped >= config.train.max_skipped:
        if not is_writer():
            raise ElsewhereError(f"step {step}: the run diverged, as process 0 says")
        raise DivergedError(
            f"step {step}: {skipped} updates in a row were not finite, so training stopped. Raise "
            "config.train.max_skipped to go on from the last checkpoint, or start a new --workdir with a lower "
            "config.optimizer.schedule.peak"
        )
