"""The driver of both loops. Order of a start: resume, else init; then evaluate, train, save, evaluate, export."""

import math
import resource
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.data.loader import make_loader
from rrft_jax.evaluation.greedy import evaluate
from rrft_jax.models.qwen2_vl.model import Qwen2VL
from rrft_jax.models.qwen2_vl.weights import abstract_params
from rrft_jax.parallel.mesh import RULES, make_mesh
from rrft_jax.processing.buckets import describe
from rrft_jax.processing.processor import Processor
from rrft_jax.rewards import Pool, RewardSet, reward_set
from rrft_jax.tasks.registry import Task, get_task
from rrft_jax.training.checkpoints import Checkpoints
from rrft_jax.training.completions import CompletionsWriter
from rrft_jax.training.interrupt import GracefulStop, resume_hint
from rrft_jax.training.metrics import MetricsWriter, read_metrics
from rrft_jax.training.programs import Programs, make_programs, to_devices
from rrft_jax.training.progress import SHOWN, Progress, Row, before_after_table, duration
from rrft_jax.training.references import sft_batch
from rrft_jax.training.rollouts import grpo_batch
from rrft_jax.training.source import HostBatch, Source, make_source
from rrft_jax.training.start import (
    ADAPTER,
    EXPORT,
    check_trained,
    export,
    export_adapter,
    load_init,
    load_weights,
    make_state,
)
from rrft_jax.training.tree import combine, parameter_count
from rrft_jax.training.workdir import CONFIG, Workdir, open_workdir

MAY_CHANGE = ("log.*", "checkpoint.*", "train.max_skipped")
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


def train(config: ConfigDict, workdir: str | Path, argv: list[str] | None = None) -> int:
    """Runs or resumes a training; returns the exit code (0 done, 130 / 143 stopped by a signal after saving)."""
    check_config(config)
    run_dir = open_workdir(workdir, config, MAY_CHANGE)
    if run_dir.finished:
        print(
            f"{run_dir.path} holds a finished run:\n{_table(run_dir.path)}\nGive another --workdir to start a new one."
        )
        return 0
    for note in run_dir.notes:
        logging.warning("resuming under other conditions, so the last bits may differ: %s", note)
    with ExitStack() as stack:
        stop = stack.enter_context(GracefulStop())
        pool = stack.enter_context(Pool())
        try:
            run, trainable = _start(config, pool)
        except (ValueError, OSError):
            if not run_dir.resumed:  # nothing has run: the corrected command may use the same --workdir
                (run_dir.path / CONFIG).unlink()
            raise
        stack.enter_context(jax.set_mesh(run.mesh))
        state = make_state(trainable, run.programs.optimizer, run.mesh)
        del trainable
        checkpoints = stack.enter_context(
            Checkpoints(run_dir.path / "checkpoints", config.checkpoint.keep_last, config.checkpoint.keep_best)
        )
        metrics = MetricsWriter(run_dir.path, config.log.tensorboard)
        stack.callback(metrics.close)
        completions = CompletionsWriter(run_dir.path)
        step, host = 0, {"num_tokens": 0, "cpu_seconds": 0.0}  # cpu_seconds: of this and all former sessions
        if checkpoints.latest_step() is not None:
            state, host, step = checkpoints.restore(state)
            print(f"resuming {run_dir.path} at step {step} of {config.train.steps}")
        earlier = host["cpu_seconds"]
        metrics.cut_back(step if step else -1)
        completions.cut_back(step if step else -1)
        state, step = _loop(run, state, step, host, checkpoints, metrics, completions, stop)
        metrics.flush()
        if step < config.train.steps:
            what = f"stopped and saved at step {step}; to resume" if step else "stopped before the first step; to start"
            print(f"\n{what}:\n  {resume_hint(argv or sys.argv, run_dir.path)}")
            return stop.exit_code
        params = combine(state["params"], run.frozen)
        export(run_dir.path / EXPORT, run.model, params, run.processor, "bfloat16")
        if config.lora.rank:
            export_adapter(run_dir.path / ADAPTER, params, config.init)
    _finish(run_dir, host["num_tokens"], earlier)
    return 0


def check_config(config: ConfigDict) -> None:
    """Errors of single fields that would otherwise come late, or never."""
    if config.algorithm not in ("grpo", "sft"):
        raise ValueError(f"config.algorithm={config.algorithm!r}: choose grpo or sft")
    for name, value, least in (
        ("train.steps", config.train.steps, 1),
        ("train.prompts", config.train.prompts, 1),
        ("train.micro_batches", config.train.micro_batches, 1),
        ("train.group_chunks", config.train.group_chunks, 1),
        ("train.max_skipped", config.train.max_skipped, 1),
        ("eval.every", config.eval.every, 0),
        ("eval.examples", config.eval.examples, 0),
        ("eval.batch", config.eval.batch, 1),
        ("checkpoint.every", config.checkpoint.every, 1),
        ("log.completions_every", config.log.completions_every, 1),
    ):
        if value < least:
            raise ValueError(f"config.{name}={value} must be at least {least}")
    if config.train.prompts % config.train.micro_batches:
        raise ValueError(
            f"config.train.micro_batches={config.train.micro_batches} must divide config.train.prompts="
            f"{config.train.prompts}"
        )
    check_trained(config)
    group = config.rollout.group if config.algorithm == "grpo" else 1
    if group % config.train.group_chunks:
        raise ValueError(
            f"config.train.group_chunks={config.train.group_chunks} must divide the {group} completions of a prompt"
            + (" (config.rollout.group)" if config.algorithm == "grpo" else "")
        )
    if missing := {"accuracy", "format"} - set(config.rewards):
        raise ValueError(f"config.rewards lacks {', '.join(sorted(missing))}, which evaluation needs: give it weight 0")
    try:
        get_task(config.task).format_prompt(config.prompt, "")
    except KeyError as error:
        raise ValueError(f"config.prompt: {error.args[0]}") from None
    if config.algorithm == "sft":
        targets = get_task(config.task).targets
        if config.sft.target not in targets:
            raise ValueError(f"config.sft.target={config.sft.target!r}: choose one of {', '.join(targets)}")
    elif config.rollout.group < 2:
        raise ValueError(
            f"config.rollout.group={config.rollout.group}: GRPO compares the members of a group, give >= 2"
        )


def _start(config: ConfigDict, pool: Pool) -> tuple[Run, dict]:
    task = get_task(config.task)
    mesh = make_mesh(**config.mesh)
    _check_batches(config, mesh)
    model, processor = load_init(config)
    count = parameter_count(abstract_params(model.config))
    platform = jax.devices()[0].platform
    print(f"{config.algorithm} from {config.init}: {count:,} parameters on {mesh.size} {platform} device(s)")
    source = make_source(config, task, processor)
    print(source.report)
    print(describe(processor, source.sizes))
    programs = make_programs(config, model, processor)
    rewards = reward_set(dict(config.rewards), pool=pool, options=_reward_options(config, processor))
    weights = load_weights(config, model, mesh)
    if config.lora.rank:
        print(f"LoRA of rank {config.lora.rank}: {parameter_count(weights.trainable):,} parameters are trained")
    frozen, reference = weights.frozen, weights.reference
    return Run(config, task, model, processor, mesh, source, programs, rewards, frozen, reference), weights.trainable


def _check_batches(config: ConfigDict, mesh: Mesh) -> None:
    shards = math.prod(mesh.shape[axis] for axis in RULES["batch"])
    for name, rows in (("train.prompts", config.train.prompts), ("eval.batch", config.eval.batch)):
        if rows % shards:
            raise ValueError(
                f"config.{name}={rows} must be a multiple of {shards}, the devices of config.mesh.data x fsdp that "
                "share a batch"
            )


def _reward_options(config: ConfigDict, processor: Processor) -> dict:
    if "length" not in config.rewards:
        return {}
    return {"length": {"count_tokens": lambda text: len(processor.tokenizer(text).input_ids)}}


def _loop(run: Run, state, step, host, checkpoints, metrics, completions, stop) -> tuple[dict, int]:
    config = run.config
    total = config.train.steps
    earlier = host["cpu_seconds"]
    prepare = _preparer(run)
    eval_sets = {name: tuple(_on_mesh(run, b) for b in batches) for name, batches in run.source.held_out.items()}

    def held_out() -> dict[str, float]:
        params = combine(state["params"], run.frozen)
        return evaluate(run.programs.greedy, params, run.processor, run.rewards, eval_sets)

    shown = SHOWN if config.algorithm == "grpo" else SFT_SHOWN
    with Progress(total, step, config.log.progress_every, shown) as progress:
        if step == 0 and not stop.requested:
            before = held_out()
            metrics.write(0, before)
            if before:
                progress.note(_eval_line(0, before))
        batches = make_loader(run.source.fetch, step, total, prefetch=2, threads=2)
        saved = step
        for batch in batches:
            if stop.requested:
                break
            begin = time.perf_counter()
            ready, record, groups = prepare(state, batch, step)
            prepared = time.perf_counter()
            state, trained = run.programs.step(state, run.frozen, ready)
            record |= {name: float(value) for name, value in trained.items()}
            end = time.perf_counter()
            step += 1
            record |= _counters(record, batch, host, begin, prepared, end, config)
            if groups and (step == 1 or step % config.log.completions_every == 0 or step == total):
                completions.write(step, groups)
            accuracy = None
            if eval_sets and (step == total or config.eval.every and step % config.eval.every == 0):
                scores = held_out()
                accuracy = scores["eval/accuracy"]
                record |= scores
                progress.note(_eval_line(step, scores))
            host["cpu_seconds"] = earlier + time.process_time()
            metrics.write(step, record)
            progress.update(step, record)
            _check_finite(state, config, step)
            if step % config.checkpoint.every == 0 or step == total or accuracy is not None:
                metrics.flush()
                checkpoints.save(step, state, host, accuracy)
                saved = step
        if saved < step:  # stopped by a signal, which may have come at any time since the last save
            metrics.flush()
            checkpoints.save(step, state, host)
    return state, step


def _preparer(run: Run) -> Callable[[dict, HostBatch, int], tuple[Any, dict, list]]:
    """(state, host batch, step) -> device batch, metrics, completions to log."""
    if run.config.algorithm == "sft":
        make = partial(sft_batch, run.config, run.task, run.processor, run.mesh)
        return lambda state, batch, t: (*make(batch), [])

    def prepare(state, batch, t):
        params = combine(state["params"], run.frozen)
        return grpo_batch(
            run.config, run.programs, run.processor, run.rewards, run.mesh, params, run.reference, batch, t
        )

    return prepare


def _on_mesh(run: Run, batch: HostBatch) -> HostBatch:
    return replace(batch, prompts=to_devices(batch.prompts, run.mesh))


def _counters(record, batch, host, begin, prepared, end, config) -> dict[str, float]:
    rows = float(batch.row_weight.sum()) * (config.rollout.group if config.algorithm == "grpo" else 1)
    completion_tokens = record["completions/mean_length"] * rows
    prompt_tokens = float((batch.prompts.token_mask * batch.row_weight[:, None]).sum())
    host["num_tokens"] += int(round(completion_tokens + prompt_tokens))
    return {
        "num_tokens": host["num_tokens"],
        "step_time": end - begin,
        "tokens_per_second": completion_tokens / (end - begin),
        "timing/update": end - prepared,
    }


def _check_finite(state, config, step) -> None:
    skipped = int(state["skipped"])
    if skipped >= config.train.max_skipped:
        raise DivergedError(
            f"step {step}: {skipped} updates in a row were not finite, so training stopped; the last checkpoint is "
            "good. Raise config.train.max_skipped to go on from it, or start a new --workdir with a lower "
            "config.optimizer.schedule.peak"
        )


def _eval_line(step: int, scores: dict[str, float]) -> str:
    parts = [
        f"{name.removesuffix('/accuracy')} {value:.1%}" for name, value in scores.items() if name.endswith("/accuracy")
    ]
    return f"[step {step}] held-out greedy accuracy: {', '.join(parts)}; reasons {scores['eval/reasons']:.0%}"


def _table(path: Path) -> str:
    """Before / after over the held-out sets, from the metrics on disk."""
    records = [r for r in read_metrics(path) if any(k.startswith("eval") for k in r)]
    if not records:
        return "(no held-out set was evaluated)"
    before, after = records[0], records[-1]
    labels = {
        "accuracy": "accuracy", "reasons": "answers that reason", "accuracy_reasoned": "accuracy of reasoned answers",
        "accuracy_direct": "accuracy of direct answers", "format": "format", "mean_length": "mean length (tokens)",
    }  # fmt: skip
    rows = []
    for name, title in (("eval", "in-domain"), ("eval_ood", "out-of-domain")):
        for key, label in labels.items():
            values = [record.get(f"{name}/{key}") for record in (before, after)]
            if any(v is not None for v in values):
                # NaN: no answer of this kind, so no accuracy either.
                values = [None if v is None or math.isnan(v) else v for v in values]
                rows.append(Row(f"{title}: {label}", *values, key != "mean_length"))
    return before_after_table(rows, (f"step {before['step']}", f"step {after['step']}", "change"))


def _finish(run_dir: Workdir, num_tokens: int, earlier: float) -> None:
    path = run_dir.path
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = earlier + time.process_time() + children.ru_utime + children.ru_stime
    run_dir.mark_done({"num_tokens": num_tokens, "cpu_seconds": round(cpu, 1)})
    print(_table(path))
    print(f"cost: {cpu:,.0f} CPU-seconds ({duration(cpu)}), start-up and compilation included")
    print(f"written to {path}:")
    for name, what in (
        (EXPORT, "the result as a HuggingFace directory (bfloat16)"),
        (ADAPTER, "the LoRA adapter in PEFT's format, which hf/ has merged"),
        ("metrics.jsonl", "one object a step; TensorBoard events in tensorboard/"),
        ("completions", "pictures, prompts, completions, rewards and advantages"),
        ("checkpoints", "the last and the best step"),
        ("config.json", "the resolved config; versions, git commit and seeds in versions.json"),
    ):
        if (path / name).exists():
            print(f"  {name:14} {what}")
