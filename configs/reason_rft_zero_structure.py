"""Reason-RFT-Zero on structure perception: GRPO from the base model.

python launch/train.py --config=configs/reason_rft_zero_structure.py
python launch/train.py --config=configs/reason_rft_zero_structure.py:2b,init=/ckpt/2b,data=/data/structure
"""

from rrft_jax.config.recipes import finish, nano_grpo, start


def get_config(arg=None):
    config, arg = start("structure_perception", arg)
    nano_grpo(config)
    config.train.steps = 100  # as far as the fall at the start, and the way back, are looked at
    return finish(config, arg)
