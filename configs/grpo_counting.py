"""GRPO on visual counting (Reason-RFT-Zero, or stage 2 with init=<workdir of stage 1>).

    python launch/train.py --config=configs/grpo_counting.py
    python launch/train.py --config=configs/grpo_counting.py:runlocal
    python launch/train.py --config=configs/grpo_counting.py:2b,init=/ckpt/Qwen2-VL-2B-Instruct,data=/data/counting

Any field: --config.train.steps=200 --config.optimizer.schedule.peak=1e-4
"""

from rrft_jax.training.defaults import base_config
from rrft_jax.training.overrides import parse_arg
from rrft_jax.training.presets import local, real_data, real_size


def get_config(arg=None):
    arg = parse_arg(arg, size=("nano", "2b", "7b"), init="", data="", runlocal=False)
    config = base_config()
    config.init = arg.init or "nano"
    config.train.steps = 60
    # Nano's few parameters move far in so few steps: warm-up, a short memory of squares and a strong KL penalty keep
    # what it knows about reasoning while it learns to do it (docs/nano.md has the sweep).
    config.optimizer.update({"b2": 0.98, "schedule": {"peak": 2e-4, "warmup_steps": 5}})
    config.loss.beta = 0.2
    config.eval.every = 20
    if arg.size != "nano":
        real_size(config, arg)
        config.optimizer.update({"b2": 0.999, "schedule": {"peak": 1e-6, "warmup_steps": 0}})
        config.loss.beta = 0.04
        config.train.prompts = 16
        config.train.steps = 100
    if arg.data:
        real_data(config, arg)
    if arg.runlocal:
        local(config)
    return config
