"""Reason-RFT-Zero: GRPO from the base model. Copy this file for a recipe of your own.

    python launch/train.py --config=configs/reason_rft_zero.py                      # visual counting
    python launch/train.py --config=configs/reason_rft_zero.py:structure            # structure, spatial or another task
    python launch/train.py --config=configs/reason_rft_zero.py:spatial,2b,init=/ckpt/2b,data=/data/spatial
    python launch/train.py --config=configs/reason_rft_zero.py:vqa,data=/data/mine  # your own records
    python launch/train.py --config=configs/reason_rft_zero.py:task=my_task.py:TASK # your own task

Any field: --config.train.steps=200. What is not named here stands in rrft_jax/config/: nano.py, then defaults.py;
what 2b, 7b, data=, paper and runlocal change, in recipes.py.
"""

from rrft_jax.config.nano import grpo
from rrft_jax.config.recipes import finish, start


def get_config(arg=None):
    config, task, arg = start(arg)  # with the task's rewards
    grpo(config, task)  # sampling, advantages, loss, Adam, lengths: rrft_jax/config/nano.py
    config.seed = 0
    # As configs/grpo_counting.py.
    config.train.update({"steps": 30, "prompts": 32, "micro_batches": 4})
    config.rollout.group = 8
    config.loss.update({"aggregation": "token_mean", "beta": 0.04})
    config.optimizer.schedule.update({"peak": 2e-4, "warmup_steps": 5})
    config.eval.update({"every": 10, "examples": 256, "batch": 64})
    return finish(config, arg)
