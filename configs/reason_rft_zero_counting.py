"""Reason-RFT-Zero on visual counting: GRPO from the base model (the main job, for longer).

python launch/train.py --config=configs/reason_rft_zero_counting.py
python launch/train.py --config=configs/reason_rft_zero_counting.py:2b,init=/ckpt/2b,data=/data/counting
"""

from rrft_jax.config.recipes import finish, nano_grpo, start


def get_config(arg=None):
    config, arg = start("visual_counting", arg)
    nano_grpo(config)
    config.train.steps = 100  # as far as the fall at the start, and the way back, are looked at
    return finish(config, arg)
