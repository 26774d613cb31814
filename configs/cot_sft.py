"""CoT-SFT: supervised fine-tuning on reasoning. Copy this file for a recipe of your own.

    python launch/train.py --config=configs/cot_sft.py                             # visual counting
    python launch/train.py --config=configs/cot_sft.py:structure                   # structure, spatial or another task
    python launch/train.py --config=configs/cot_sft.py:spatial,2b,init=/ckpt/2b,data=/data/spatial
    python launch/train.py --config=configs/cot_sft.py:vqa,data=/data/mine         # your own records
    python launch/train.py --config=configs/cot_sft.py:task=my_task.py:TASK        # your own task

Any field: --config.train.steps=200. What is not named here stands in rrft_jax/config/: nano.py, then defaults.py;
what 2b, 7b, data=, paper and runlocal change, in recipes.py.
"""

from rrft_jax.config.nano import sft
from rrft_jax.config.recipes import finish, start


def get_config(arg=None):
    config, task, arg = start(arg)
    sft(config, task, "cot")  # Adam, precision, lengths, checkpoints: rrft_jax/config/nano.py
    config.seed = 0
    config.train.update({"steps": 100, "prompts": 32, "micro_batches": 4})
    config.optimizer.schedule.update({"peak": 1e-4, "warmup_steps": 10})
    config.eval.update({"every": 25, "examples": 256, "batch": 64})
    return finish(config, arg, supervised=True)
