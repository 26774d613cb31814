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
    config.train.steps = 100
    config.optimizer.schedule.peak = 2e-4
    config.loss.beta = 0.04
    if arg.size != "nano":
        real_size(config, arg)
        config.optimizer.schedule.peak = 1e-6
        config.train.prompts = 16
    if arg.data:
        real_data(config, arg)
    if arg.runlocal:
        local(config)
    return config
