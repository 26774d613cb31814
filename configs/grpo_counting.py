"""GRPO on visual counting, from the bundled base model: the main job. Copy this file for a recipe of your own.

    python launch/train.py --config=configs/grpo_counting.py
    python launch/train.py --config=configs/grpo_counting.py:runlocal        # everything shrunk, about a minute
    python launch/train.py --config=configs/grpo_counting.py:2b,init=/ckpt/2b,data=/data/counting

Any field: --config.train.steps=200 --config.optimizer.schedule.peak=1e-4. What is not named here is at its default in
rrft_jax/config/defaults.py; 2b, 7b, data=, paper and runlocal change what rrft_jax/config/recipes.py says.
"""

from rrft_jax.config.command_line import parse_arg
from rrft_jax.config.defaults import base_config
from rrft_jax.config.recipes import ARGUMENTS, finish


def get_config(arg=None):
    config = base_config()
    config.algorithm = "grpo"
    config.task = "auto"  # visual_counting; of records that name no task vqa
    config.prompt = "cot"
    config.seed = 0

    config.train.update({"steps": 30, "prompts": 32, "minibatches": 1, "rollout_epochs": 1, "micro_batches": 4})
    config.rollout.update({"group": 8, "max_completion_length": 96, "temperature": 1.0, "top_k": 0, "top_p": 1.0})
    config.buckets = {"prompt": (88,), "images": (1,), "patches": (64,)}  # tokens, pictures, patches of 14x14 pixels
    config.rewards.update({"accuracy": 1.0, "format": 1.0})  # every other reward: 0

    # A warm-up and a short memory of squares keep Adam's first steps small. Every token weighs the same: in a mean per
    # completion a short guess outweighs the long thought that is right more often (docs/log.md).
    config.advantages.update({"scale": "group", "ddof": 1, "epsilon": 1e-4})
    config.loss.update({"surrogate": "on_policy", "aggregation": "token_mean"})
    config.loss.update({"beta": 0.04, "kl_estimator": "k3", "entropy_coefficient": 0.0})
    config.optimizer.update({"b1": 0.9, "b2": 0.98, "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": 1.0})
    config.optimizer.schedule.update({"name": "linear", "peak": 2e-4, "warmup_steps": 5})
    config.model.update({"dtype": "float32", "remat": "dots"})

    config.eval.update({"every": 15, "examples": 256, "batch": 64})
    config.checkpoint.update({"every": 15, "keep_last": 1, "keep_best": 1})
    config.log.update({"progress_every": 5, "completions_every": 10, "completions_prompts": 4})
    return finish(config, parse_arg(arg, **ARGUMENTS))
