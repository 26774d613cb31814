"""GRPO on the task of this folder, from the bundled base model. In the folder of the repository:

    python examples/my_task/draw.py
    python launch/train.py --config=examples/my_task/config.py --workdir=workdirs/discs
    python launch/evaluate.py --checkpoint=workdirs/discs --benchmark=examples/my_task/task.py \\
        --data_dir=examples/my_task/data --output=workdirs/discs/test
"""

from pathlib import Path

from rrft_jax.config.command_line import parse_arg
from rrft_jax.config.defaults import base_config
from rrft_jax.config.recipes import ARGUMENTS, finish

HERE = Path(__file__).absolute().parent


def get_config(arg=None):
    config = base_config()
    config.algorithm = "grpo"
    config.task = f"{HERE}/task.py:TASK"
    config.data.update({"folder": f"{HERE}/data", "held_out": 0.3})

    config.rewards.update({"accuracy": 1.0, "format": 0.5})
    config.extra_rewards = (f"{HERE}/task.py:close=0.5",)
    config.reward_options.close = {"reach": 3}

    config.train.update({"steps": 30, "prompts": 8, "micro_batches": 2})
    config.rollout.update({"group": 8, "max_completion_length": 96})
    config.buckets = {"prompt": (96,), "images": (1,), "patches": (64,)}  # tokens, pictures, patches of 14x14 pixels
    config.loss.beta = 0.1
    config.optimizer.b2 = 0.98
    config.optimizer.schedule.update({"peak": 2e-4, "warmup_steps": 5})
    config.eval.update({"every": 10, "examples": 4, "batch": 4})
    config.checkpoint.every = 10
    return finish(config, parse_arg(arg, **ARGUMENTS))
