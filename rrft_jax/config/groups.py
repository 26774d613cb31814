"""Groups of a config: each field with its default, what it means, and what it may be.

`base_config` holds them as plain values, which files and flags change; `read` gives a group back as its dataclass, with
every value checked. Groups that a user's own code may extend (rewards, advantages) and those that belong to another
room (loss, buckets) are checked there.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_collections import ConfigDict

from rrft_jax.data.sources.hub import check_columns
from rrft_jax.losses.ppo import PPOLoss
from rrft_jax.models.attention import check_name
from rrft_jax.models.lora import LoRA as Adapter
from rrft_jax.parallel.mesh import AXES
from rrft_jax.rollout.compaction import stages
from rrft_jax.rollout.growth import bounds
from rrft_jax.run.sinks import check_sinks


@dataclass(frozen=True)
class Data:
    folder: str = ""  # of launch/prepare_data.py, or JSON lists of records; empty: scenes rendered on the fly
    split: str = ""  # of a prepared folder; empty: train
    image_root: str = ""  # where their image paths start; empty: the folder, its images/ or train_images/
    strict: bool = False  # stop at the first bad record instead of skipping and listing it
    filter: str = ""  # rollouts.jsonl of launch/filter_instances.py: records without a right rollout are left out
    filter_rollouts: int = 0  # K: the training counts so many right or wrong rollouts of each example first; 0: none
    filter_reward: str = ""  # the reward that is 1 for a right one; empty: the task's metric
    filter_always_right: bool = False  # examples whose rollouts were all right are left out too
    held_out: float = 0.1  # share of the records kept for evaluation
    columns: tuple[str, ...] = ()  # fields of records under other names: "problem=query", "answer=label"
    range: tuple[int, int] = (0, 0)  # first and end of the examples to train on, in a fixed random order; end 0: all

    def __post_init__(self):
        _at_least(self, "data", filter_rollouts=0)
        if self.filter and self.filter_rollouts:
            raise ValueError(
                f"config.data.filter={self.filter} has counts, and config.data.filter_rollouts={self.filter_rollouts} "
                "makes new ones: give one of them"
            )
        if self.filter_reward and not self.filter_rollouts:
            raise ValueError(
                f"config.data.filter_reward={self.filter_reward} would change nothing: it is read where "
                "config.data.filter_rollouts counts"
            )
        if self.filter_always_right and not (self.filter or self.filter_rollouts):
            raise ValueError(
                "config.data.filter_always_right=True would change nothing: give config.data.filter or filter_rollouts"
            )
        if not 0 <= self.held_out < 1:
            raise ValueError(f"config.data.held_out={self.held_out} is a share: give 0 or more, and less than 1")
        check_columns(self.columns)
        if self.columns and not self.folder:
            raise ValueError("config.data.columns would change nothing: it names columns of records, so give data=...")
        places = tuple(self.range)
        if len(places) != 2 or places[0] < 0 or places[1] and places[1] <= places[0]:
            raise ValueError(f"config.data.range={places}: give the first place and the end, such as 0,1600, or 1600,0")


@dataclass(frozen=True)
class Processor:
    min_pixels: int = 0  # 0: what the model's directory says
    max_pixels: int = 0
    nearest_pixels: int = 0  # larger pictures are first reduced to this area by nearest neighbours; 0: never
    images: str = "first"  # first | in_question: in front of all text, or each on a line in front of the question

    def __post_init__(self):
        _at_least(self, "processor", nearest_pixels=0)
        if self.images not in ("first", "in_question"):
            raise ValueError(f"config.processor.images={self.images!r}: choose first or in_question")


@dataclass(frozen=True)
class Model:
    dtype: str = "float32"  # of products and activations
    # Of parameters that are not trained, and of the reference. With LoRA also int8 | nf4.
    frozen_dtype: str = "float32"
    trained_dtype: str = "float32"  # and of the optimizer's averages; bfloat16: rounded at random, without LoRA
    # What the backward pass computes again: none | dots (all but projections, attention) | full | offload: as full, and
    # what it keeps, the inputs of layers, lies in the host's memory
    remat: str = "dots"
    attention: str = "auto"  # of many tokens at once, not of the decode loop: auto | xla | splash (TPU) | cudnn (GPU)
    logits_chunk: int = 32  # tokens whose logits are in memory at a time

    def __post_init__(self):
        _at_least(self, "model", logits_chunk=1)
        check_name(self.attention)


@dataclass(frozen=True)
class LoRA:
    rank: int = 0  # 0: off, every parameter is trained; else only the adapter is
    alpha: float = 32.0  # the update is alpha / rank times A B
    parts: tuple[str, ...] = ("language",)  # language, vision
    targets: tuple[str, ...] = (".*",)  # regular expressions on layer names (q, k, v, o, gate, up, down; qkv, fc1, ...)
    adapter: str = ""  # an adapter of `init` to continue training, in PEFT's format; empty: a new one

    def __post_init__(self):
        if self.rank:
            self.settings()
        elif self.adapter:
            raise ValueError(
                f"config.lora.adapter={self.adapter} is an adapter to continue training: give config.lora.rank too, "
                "or init=<the adapter> to train from the merged weights"
            )

    def settings(self) -> Adapter:
        """What the model reads. ValueError where rank is 0 or another field is wrong."""
        return Adapter(self.rank, self.alpha, tuple(self.targets), tuple(self.parts))


@dataclass(frozen=True)
class Mesh:
    preset: str = ""  # data | fsdp | fsdp+tensor, instead of sizes
    data: int = -1  # devices along each axis; -1: those that are left
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self):
        for axis in AXES:
            size = getattr(self, axis)
            if size < 1 and size != -1:
                raise ValueError(f"config.mesh.{axis}={size} must be at least 1, or -1 for the devices left")


@dataclass(frozen=True)
class Rollout:
    group: int = 8  # G: completions of a prompt
    max_completion_length: int = 96
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    # Further batches of prompts that may be drawn for a step, in place of groups whose rewards are all equal (DAPO's
    # dynamic sampling); with N of them a step owns N + 1 batches of the order
    resample: int = 0
    ahead: int = 0  # 1: completions are drawn one step ahead, by the parameters before the update they overlap with
    compact: int = 0  # 8: once 1/8 of the completions is unfinished, continue in a batch of that size; 0: never
    cache_parts: int = 1  # 4: the completions' cache grows in 4 steps, and attention reads no more than is there

    def __post_init__(self):
        _at_least(self, "rollout", max_completion_length=1, resample=0)
        try:
            stages(1, self.compact)
            bounds(self.max_completion_length, self.cache_parts)
        except ValueError as error:
            raise ValueError(f"config.rollout.{error}") from None


@dataclass(frozen=True)
class PPO(PPOLoss):
    """Of config.algorithm=ppo; the other fields are those of the loss."""

    value_peak: float = 1e-5  # learning rate of the value head, on the schedule of the policy
    trunk: str = "frozen"  # frozen: the critic's loss moves its head alone | shared: it moves the decoder too
    critic_warmup: int = 0  # updates at the start in which nothing but the value head moves

    def __post_init__(self):
        try:
            super().__post_init__()
        except ValueError as error:
            raise ValueError(str(error).replace("PPOLoss.", "config.ppo.")) from None
        _at_least(self, "ppo", critic_warmup=0)
        if not self.value_peak > 0:
            raise ValueError(f"config.ppo.value_peak={self.value_peak} must be positive: the critic learns")
        if self.trunk not in TRUNKS:
            raise ValueError(f"config.ppo.trunk={self.trunk!r}: choose one of {', '.join(TRUNKS)}")

    def loss(self) -> PPOLoss:
        """What the loss reads."""
        return PPOLoss(**{f.name: getattr(self, f.name) for f in dataclasses.fields(PPOLoss)})


TRUNKS = ("frozen", "shared")


@dataclass(frozen=True)
class SFT:
    target: str = "cot"  # cot | ans
    turns: str = "all"  # all | last: the assistant's messages trained on, in a conversation of several turns


@dataclass(frozen=True)
class Schedule:
    name: str = "linear"  # constant | linear | cosine, the last two to 0 at the end of the run
    peak: float = 1e-6
    warmup_steps: int = 0
    warmup_ratio: float = 0.0  # share of the run, in place of warmup_steps
    from_zero: bool = False  # the warm-up's first step has rate 0, as in transformers

    def __post_init__(self):
        if not 0 <= self.peak <= 3e38:
            raise ValueError(f"config.optimizer.schedule.peak={self.peak} must be at least 0 and at most 3e+38")
        if self.name not in SCHEDULES:
            raise ValueError(f"config.optimizer.schedule.name={self.name!r}: choose one of {', '.join(SCHEDULES)}")
        if not 0 <= self.warmup_ratio < 1:
            given = f"config.optimizer.schedule.warmup_ratio={self.warmup_ratio}"
            raise ValueError(f"{given}: give 0 or more, less than 1")
        _at_least(self, "optimizer.schedule", warmup_steps=0)


SCHEDULES = ("constant", "linear", "cosine")


@dataclass(frozen=True)
class Optimizer:
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0  # 0: gradients are not clipped
    offload: bool = False  # between updates its averages lie in the host's memory
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self):
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                given = f"config.optimizer.{name}={getattr(self, name)}"
                raise ValueError(f"{given} must be at least 0 and less than 1")
        if not 0 < self.eps <= 1:
            raise ValueError(f"config.optimizer.eps={self.eps} must be more than 0 and at most 1")
        if not 0 <= self.weight_decay <= 3e38:
            raise ValueError(f"config.optimizer.weight_decay={self.weight_decay} must be at least 0 and at most 3e+38")
        if not self.max_grad_norm >= 0:
            raise ValueError(f"config.optimizer.max_grad_norm={self.max_grad_norm} must be positive, or 0 not to clip")


@dataclass(frozen=True)
class Train:
    steps: int = 100
    epochs: float = 0.0  # passes over the examples, in place of steps; 0: steps
    prompts: int = 32  # B: prompts of a batch, all devices together
    minibatches: int = 1  # parts of the prompts of a sampled batch, an update on each; steps count updates
    rollout_epochs: int = 1  # passes over a sampled batch, each in an order of its own (TRL: num_iterations)
    micro_batches: int = 4  # parts of a step that are in memory one at a time; 0: one prompt of each device at a time
    group_chunks: int = 1  # parts of each group, within a micro-batch; tower and prompt still run once per prompt
    freeze: tuple[str, ...] = ()  # regular expressions on parameter paths, such as "^vision/"
    max_skipped: int = 10  # stop after so many non-finite updates in a row

    def __post_init__(self):
        _at_least(self, "train", steps=1, prompts=1, minibatches=1, rollout_epochs=1, micro_batches=0)
        _at_least(self, "train", group_chunks=1, max_skipped=1)
        if not self.epochs >= 0:
            raise ValueError(f"config.train.epochs={self.epochs} must be positive, or 0 for config.train.steps")


@dataclass(frozen=True)
class Eval:
    every: int = 25  # steps; 0: never while training
    examples: int = 256
    batch: int = 64

    def __post_init__(self):
        _at_least(self, "eval", every=0, examples=0, batch=1)


@dataclass(frozen=True)
class Checkpoint:
    every: int = 25  # steps
    keep_last: int = 1
    keep_best: int = 1

    def __post_init__(self):
        _at_least(self, "checkpoint", every=1, keep_last=1, keep_best=0)


@dataclass(frozen=True)
class Log:
    completions_every: int = 10  # steps
    completions_prompts: int = 4  # prompts of a logged step
    sinks: tuple[str, ...] = ("tensorboard",)  # besides metrics.jsonl: registered names, or my_sink.py:SINK
    progress_every: int = 5  # steps
    held_out_prompts: int = 4  # questions of each held-out set whose answers are kept at each evaluation
    exchanged_pictures: bool = True  # a held-out batch once more at each evaluation: do answers need the picture?
    report: bool = True  # report.html at each evaluation and at the end

    def __post_init__(self):
        _at_least(self, "log", completions_every=1, completions_prompts=0, progress_every=1, held_out_prompts=0)
        check_sinks(self.sinks)


GROUPS: Mapping[str, Any] = {
    "data": Data, "processor": Processor, "model": Model, "lora": LoRA, "mesh": Mesh, "rollout": Rollout, "ppo": PPO,
    "sft": SFT, "optimizer": Optimizer, "train": Train, "eval": Eval, "checkpoint": Checkpoint, "log": Log,
}  # fmt: skip


def default_group(name: str) -> ConfigDict:
    """The group's defaults as plain values."""
    return ConfigDict(dataclasses.asdict(GROUPS[name]()))


def read(config: ConfigDict, name: str) -> Any:
    """The group `name` of a config, checked. Raises ValueError that names a field which is out of range, or which the
    group does not have."""
    return _build(GROUPS[name], config[name], f"config.{name}")


def _build(kind: Any, values: Mapping[str, Any], name: str) -> Any:
    fields = {f.name: f.type for f in dataclasses.fields(kind)}
    if unknown := sorted(set(values) - set(fields)):
        raise ValueError(f"{name}.{unknown[0]}: no such field; {name} has {', '.join(fields)}")
    inner = {f: _build(fields[f], v, f"{name}.{f}") for f, v in values.items() if dataclasses.is_dataclass(fields[f])}
    return kind(**{**values, **inner})


def _at_least(group: Any, name: str, **least: int) -> None:
    for field_name, low in least.items():
        if not (value := getattr(group, field_name)) >= low:
            raise ValueError(f"config.{name}.{field_name}={value} must be at least {low}")
