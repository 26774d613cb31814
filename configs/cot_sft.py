"""CoT-SFT: supervised fine-tuning on reasoning. Copy this file for a recipe of your own.

    python launch/train.py --config=configs/cot_sft.py                             # visual counting
    python launch/train.py --config=configs/cot_sft.py:structure                   # counting, structure or spatial
    python launch/train.py --config=configs/cot_sft.py:spatial,2b,init=/ckpt/2b,data=/data/spatial
    python launch/train.py --config=configs/cot_sft.py:vqa,data=/data/mine         # your own records
    python launch/train.py --config=configs/cot_sft.py:task=my_task.py:TASK        # your own task

Any field: --config.train.steps=200. What is not named here is at its default in rrft_jax/config/defaults.py; 2b, 7b,
data=, paper and runlocal change what rrft_jax/config/recipes.py says.
"""

from rrft_jax.config.recipes import finish, start


def get_config(arg=None):
    config, task, arg = start(arg)
    config.algorithm = "sft"
    config.prompt = "cot"
    config.sft.target = "cot"
    config.seed = 0

    config.train.update({"steps": 100, "prompts": 32, "micro_batches": 4})
    config.rollout.max_completion_length = task.shapes.completion
    config.buckets = {"prompt": (task.shapes.prompt,), "images": (task.shapes.images,), "patches": (64,)}

    config.optimizer.update({"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": 1.0})
    config.optimizer.schedule.update({"name": "cosine", "peak": 3e-4, "warmup_steps": 10})
    config.model.update({"dtype": "float32", "remat": "dots"})

    config.eval.update({"every": 25, "examples": 256, "batch": 64})
    config.checkpoint.update({"every": 25, "keep_last": 1, "keep_best": 1})
    return finish(config, arg, supervised=True)
