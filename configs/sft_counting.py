"""Supervised fine-tuning on visual counting: chain-of-thought or direct answers (CoT-SFT, ANS-SFT, or stage 1).

python launch/train.py --config=configs/sft_counting.py:cot
python launch/train.py --config=configs/sft_counting.py:ans
python launch/train.py --config=configs/sft_counting.py:cot,2b,init=/ckpt/Qwen2-VL-2B-Instruct,data=/data/counting
"""

from rrft_jax.training.defaults import base_config
from rrft_jax.training.overrides import parse_arg
from rrft_jax.training.presets import local, real_data, real_size


def get_config(arg=None):
    arg = parse_arg(arg, target=("cot", "ans"), size=("nano", "2b", "7b"), init="", data="", runlocal=False)
    config = base_config()
    config.algorithm = "sft"
    config.init = arg.init or "nano"
    config.sft.target = arg.target
    config.prompt = arg.target
    config.train.steps = 100
    config.optimizer.schedule = {"name": "cosine", "peak": 3e-4, "warmup_steps": 10}
    if arg.size != "nano":
        real_size(config, arg)
        config.optimizer.schedule.peak = 1e-5
        config.train.prompts = 16
    if arg.data:
        real_data(config, arg)
    if arg.runlocal:
        local(config)
    return config
