"""Settings of a recipe that change together: a task, a real model's size, real records, the paper's settings.

A config file sets what the bundled nano model needs; `finish` then applies its argument.
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict

from rrft_jax.config.command_line import ConfigError, parse_arg
from rrft_jax.config.defaults import base_config
from rrft_jax.data.sizes import SIDE
from rrft_jax.doors import DoorError
from rrft_jax.losses.trl import PAPER_ADVANTAGES
from rrft_jax.models.published_sizes import SIZES, size_file
from rrft_jax.tasks.registry import AUTO, get_task, tasks
from rrft_jax.tasks.task import Task

# One card of this memory: prompts of a step, and the longest completion; docs/memory.md has what it then needs.
CARDS: Mapping[str, Mapping[str, int]] = MappingProxyType({
    "16gb": {"prompts": 4, "completion": 256}, "24gb": {"prompts": 8, "completion": 512},
})  # fmt: skip
# What a config file takes after its name: "2b,init=DIR,data=FOLDER", "qwen2.5-vl-7b,24gb", "paper", "runlocal".
ARGUMENTS = MappingProxyType({
    "size": ("nano", *SIZES), "card": ("any", *CARDS), "init": "", "data": "", "paper": False, "runlocal": False,
})  # fmt: skip
PAPER_PIXELS = 480_000
PAPER_SFT_PIXELS = 512 * 512


def start(arg: str | None, of: Sequence[str] = (), **more: Any) -> tuple[ConfigDict, Task, ConfigDict]:
    """For a config file that takes a task: every field at its default and the task's rewards, the task, and the parsed
    argument.

    The argument names a task by its short name, or as task=NAME or task=my_task.py:TASK. Without one the task is the
    first, or vqa for records of data=FOLDER that name none (config.task=auto). of: short names of the only tasks that
    the file is for, the default first; empty: all. more: further keys of the argument, with their defaults.
    """
    names = tuple(of) or [task.alias for task in tasks().values()]
    given = parse_arg(arg, task=names, **ARGUMENTS, **more)
    config = base_config()
    try:
        task = get_task(given.task or AUTO, "config argument task")
    except DoorError as error:
        raise ConfigError(str(error)) from None
    if given.task:
        config.task = task.name if task.name in tasks() else given.task
    _reward(config, task.rewards)
    return config, task, given


def finish(config: ConfigDict, arg: ConfigDict, supervised: bool = False) -> ConfigDict:
    """Applies the argument of the config file to the nano recipe. supervised: SFT, else with rewards."""
    config.init = arg.init or "nano"
    if arg.size != "nano":
        real_size(config, arg, supervised)
    if arg.data:
        real_data(config, arg, supervised)
    if arg.card != "any":
        one_card(config, arg)
    if arg.paper:
        paper(config, supervised, real=arg.size != "nano" or bool(arg.data))
    if arg.runlocal:
        local(config)
    return config


def real_size(config: ConfigDict, arg: ConfigDict, supervised: bool) -> None:
    """A published model, by its name in SIZES, from a HuggingFace directory: bfloat16 products,
    rematerialised layers, the paper's lengths and learning rates.

    Parameters and optimizer are split over all devices. Without a directory `init` is the size's name, which is enough
    to compile and to plan memory, not to train.
    """
    config.init = arg.init or arg.size
    config.model.update({"dtype": "bfloat16", "frozen_dtype": "bfloat16", "remat": "full"})
    config.mesh.update({"data": 1, "fsdp": -1})
    config.processor.max_pixels = PAPER_PIXELS
    config.rollout.max_completion_length = 512
    pictures = get_task(config.task).shapes.images
    two = pictures == 2  # whose published instruction alone has about 1,300 tokens
    tower = json.loads(size_file(arg.size).read_text())["vision_config"]
    most = PAPER_PIXELS // tower["patch_size"] ** 2
    patches = 1024, -(-most // 512) * 512
    config.buckets = {"prompt": (1024, 2048) if two else (512, 1024), "images": (1, 2), "patches": patches}
    if not pictures:
        config.buckets.update({"images": (0,), "patches": (0,)})
    config.train.update({"prompts": 16, "micro_batches": 0, "steps": 100})
    config.eval.batch = 16  # no more prompts at once than in training, for which memory is planned
    config.optimizer.update({"b2": 0.999, "weight_decay": 0.1 if supervised else 0.0})
    warm, peak = (0.1, 1e-5) if supervised else (0.0, 1e-6)
    config.optimizer.schedule.update({"peak": peak, "warmup_steps": 0, "warmup_ratio": warm})
    config.loss.beta = 0.04


def token_side(size: str) -> int:
    """Pixels a side of a visual token of nano or of a published size."""
    if size == "nano":
        return SIDE
    tower = json.loads(size_file(size).read_text())["vision_config"]
    return tower["patch_size"] * tower["spatial_merge_size"]


def one_card(config: ConfigDict, arg: ConfigDict) -> None:
    """LoRA on decoder and tower of a base in 4 bits, in the memory of one card (a key of CARDS).

    The learning rate is ten times that of full fine-tuning (Schulman et al., LoRA Without Regret, 2025).
    """
    if arg.size == "nano" or arg.paper:
        wrong = "paper, whose settings are those of full fine-tuning" if arg.paper else "nano, which fits any"
        raise ConfigError(f"config argument {arg.card} is for a published size such as qwen2.5-vl-7b, not for {wrong}")
    card = CARDS[arg.card]
    config.lora.update({"rank": 16, "alpha": 32.0, "parts": ("language", "vision")})
    config.model.frozen_dtype = "nf4"
    config.optimizer.schedule.peak *= 10
    config.train.prompts = card["prompts"]
    config.eval.batch = card["prompts"]
    config.rollout.max_completion_length = card["completion"]
    if config.buckets.images != ("auto",):
        config.buckets.images = (get_task(config.task).shapes.images,)


def real_data(config: ConfigDict, arg: ConfigDict, supervised: bool) -> None:
    """Records of a folder at their own picture size (up to 480,000 pixels, the paper's limit)."""
    config.data.folder = arg.data
    config.processor.max_pixels = PAPER_PIXELS
    if arg.size == "nano" or arg.init:  # without a model's directory there is nothing to measure the records with
        config.buckets = {name: ("auto",) for name in config.buckets}
    if arg.size == "nano":
        # Words it has not met cost the byte-level nano tokenizer several tokens, in questions and in reasoning.
        config.rollout.max_completion_length = 192
        config.train.update({"prompts": 4, "micro_batches": 2})
        config.eval.update({"examples": 64, "batch": 8})
    else:
        config.train.epochs = 1.0 if supervised else get_task(config.task).stages.epochs


def paper(config: ConfigDict, supervised: bool, real: bool) -> None:
    """The released settings, quirks included (docs/paper_mode.md): rewards, sampler, loss, optimizer.

    real: whether lengths and counts of the released scripts make sense, which they do not for the generated examples.
    """
    task = get_task(config.task)
    if not task.paper_rewards:
        raise ConfigError(f"config argument paper: task {task.name} has no published rewards (Task.paper_rewards)")
    _reward(config, task.paper_rewards)
    config.optimizer.update({"b1": 0.9, "b2": 0.999, "eps": 1e-8, "max_grad_norm": 1.0})
    if supervised:
        config.optimizer.weight_decay = 0.1
        config.optimizer.schedule.update(
            {"name": "cosine", "peak": 1e-5, "warmup_steps": 100, "warmup_ratio": 0.0, "from_zero": True}
        )
        config.train.freeze = ("^vision/",)
        if real:
            config.processor.update({"nearest_pixels": PAPER_SFT_PIXELS, "images": "in_question"})
            config.train.update({"prompts": 16, "micro_batches": 0})
        return
    config.rollout.update({"group": 8, "temperature": 0.9, "top_p": 0.9, "top_k": 50})
    # Drawn from a tempered, truncated distribution and scored under the plain one, without a correction.
    config.loss.update({"surrogate": "on_policy", "aggregation": "sequence_mean_token_mean", "beta": 0.04,
                        "kl_estimator": "k3", "full_softmax": True, "temperature": 1.0, "type": ""})  # fmt: skip
    config.advantages.update(PAPER_ADVANTAGES)
    config.optimizer.weight_decay = 0.0
    config.optimizer.schedule.update({"name": "linear", "peak": 1e-6, "warmup_steps": 0, "warmup_ratio": 0.0})
    if real:
        config.train.update({"prompts": 14, "micro_batches": 0})
        config.rollout.max_completion_length = 512


def local(config: ConfigDict) -> None:
    """Everything smaller: the whole path in about a minute."""
    config.train.update({"steps": 4, "epochs": 0.0, "prompts": 4, "micro_batches": 2})
    config.optimizer.schedule.update({"warmup_steps": 0, "warmup_ratio": 0.0})
    config.rollout.group = 4
    config.eval.update({"every": 2, "examples": 16, "batch": 16})
    config.checkpoint.every = 2
    config.log.completions_every = 2


def _reward(config: ConfigDict, weights: Mapping[str, float]) -> None:
    """These weights, and 0 for every other registered reward; what is not registered is a task's own."""
    registered = {name: weight for name, weight in weights.items() if name in config.rewards}
    config.rewards.update(dict.fromkeys(config.rewards, 0.0) | registered)
    config.extra_rewards = tuple(f"{name}={weight}" for name, weight in weights.items() if name not in registered)
