"""GRPO on visual counting from the base model: the main job.

    python launch/train.py --config=configs/grpo_counting.py
    python launch/train.py --config=configs/grpo_counting.py:runlocal
    python launch/train.py --config=configs/grpo_counting.py:2b,init=/ckpt/2b,data=/data/counting

Any field: --config.train.steps=200 --config.optimizer.schedule.peak=1e-4
"""

from rrft_jax.config.recipes import finish, nano_grpo, start


def get_config(arg=None):
    config, arg = start("visual_counting", arg)
    nano_grpo(config)
    return finish(config, arg)
