"""Reason-RFT-Zero on spatial transformation: GRPO from the base model.

python launch/train.py --config=configs/reason_rft_zero_spatial.py
python launch/train.py --config=configs/reason_rft_zero_spatial.py:2b,init=/ckpt/2b,data=/data/spatial
"""

from rrft_jax.config.recipes import finish, nano_grpo, start


def get_config(arg=None):
    config, arg = start("spatial_transformation", arg)
    nano_grpo(config)
    config.train.steps = 100  # as far as the fall at the start, and the way back, are looked at
    return finish(config, arg)
