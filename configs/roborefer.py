"""RoboRefer (arXiv 2506.04308): GRPO on points with rewards for the steps before them. Copy it for one of your own.

    python launch/train.py --config=configs/roborefer.py
    python launch/train.py --config=configs/roborefer.py:2b,paper,init=/ckpt/sft,data=/data/refspatial

The bundled model has not seen this task: teach it first, with configs/cot_sft.py:referring and
--config.optimizer.schedule.peak=1e-3, and give init=its workdir.
paper: the published settings. Any field: --config.train.steps=200. What is not named here stands in rrft_jax/config/:
nano.py, then defaults.py; what 2b, 7b, data= and runlocal change, in recipes.py.
"""

from rrft_jax.config.nano import grpo
from rrft_jax.config.recipes import finish, start


def get_config(arg=None):
    config, task, given = start(arg, ("referring",))  # with the task's rewards
    grpo(config, task)  # sampling, advantages, loss, Adam, lengths: rrft_jax/config/nano.py
    config.seed = 0
    config.train.update({"steps": 100, "prompts": 16, "micro_batches": 8})
    config.rollout.group = 8
    config.loss.beta = 0.04
    config.optimizer.schedule.update({"peak": 2e-4, "warmup_steps": 5})
    config.eval.update({"every": 20, "examples": 128, "batch": 64})
    config = finish(config, given)
    if given.paper:  # "as R1-V": lr 1e-6, beta 0.04 and TRL's defaults are those of `finish`
        config.rollout.update({"group": 8, "temperature": 1.0, "top_p": 1.0, "top_k": 0})
        if given.size != "nano" or given.data:
            config.train.prompts = 8  # one on each of 8 devices
        if given.data and not given.runlocal:
            config.train.epochs = 2.0
    return config
