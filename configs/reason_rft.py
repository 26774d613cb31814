"""Reason-RFT: stage 1 is CoT-SFT on the first 1,600 examples, stage 2 GRPO on the others. Copy it for one of your own.

    python launch/train.py --config=configs/reason_rft.py                           # visual counting
    python launch/train.py --config=configs/reason_rft.py:structure                 # structure, spatial or another task
    python launch/train.py --config=configs/reason_rft.py:spatial,2b,init=/ckpt/2b,data=/data/spatial
    python launch/train.py --config=configs/reason_rft.py:vqa,data=/data/mine       # your own records
    python launch/train.py --config=configs/reason_rft.py:task=my_task.py:TASK      # your own task

One command for both stages, which resumes in whichever it was. Any field: --config.train.steps=200, of stage 1
--config.stage1.train.epochs=2. What is not named here stands in rrft_jax/config/: nano.py, then defaults.py; what 2b,
7b, data=, paper and runlocal change, in recipes.py.
"""

from rrft_jax.config.nano import grpo, sft
from rrft_jax.config.recipes import finish, start


def get_config(arg=None):
    config, task, given = start(arg)  # with the task's rewards
    grpo(config, task)  # sampling, advantages, loss, Adam, lengths: rrft_jax/config/nano.py
    config.seed = 0
    config.stage1 = stage1(arg)
    config.stage1.seed = config.get_oneway_ref("seed")  # both stages', unless --config.stage1.seed is given
    # Where a task has few examples (structure), stage 2 trains on all of them.
    config.data.range = (task.stages.first, 0) if task.stages.rest else (0, 0)

    config.train.update({"steps": 30, "prompts": 32, "micro_batches": 4})
    config.rollout.group = 8
    config.loss.update({"aggregation": "token_mean", "beta": 0.04})
    # Half of the main job's, which here unlearns part of stage 1: docs/miniature.md.
    config.optimizer.schedule.update({"peak": 1e-4, "warmup_steps": 5})
    config.eval.update({"every": 10, "examples": 256, "batch": 64})
    return finish(config, given)


def stage1(arg):
    config, task, given = start(arg)
    sft(config, task, "cot")
    config.seed = 0
    config.data.range = (0, task.stages.first)

    config.train.update({"epochs": 1.0, "prompts": 32, "micro_batches": 4})
    config.optimizer.schedule.update({"peak": 1e-4, "warmup_steps": 10})
    config.eval.update({"every": 25, "examples": 256, "batch": 64})
    return finish(config, given, supervised=True)
