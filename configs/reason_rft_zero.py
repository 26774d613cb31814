"""Reason-RFT-Zero: GRPO from the base model. Copy this file for a recipe of your own.

    python launch/train.py --config=configs/reason_rft_zero.py                      # visual counting
    python launch/train.py --config=configs/reason_rft_zero.py:structure            # counting, structure or spatial
    python launch/train.py --config=configs/reason_rft_zero.py:spatial,2b,init=/ckpt/2b,data=/data/spatial
    python launch/train.py --config=configs/reason_rft_zero.py:vqa,data=/data/mine  # your own records
    python launch/train.py --config=configs/reason_rft_zero.py:task=my_task.py:TASK # your own task

Any field: --config.train.steps=200. What is not named here is at its default in rrft_jax/config/defaults.py; 2b, 7b,
data=, paper and runlocal change what rrft_jax/config/recipes.py says.
"""

from rrft_jax.config.recipes import finish, start


def get_config(arg=None):
    config, task, arg = start(arg)  # with the task's rewards
    config.algorithm = "grpo"
    config.prompt = "cot"
    config.seed = 0

    # As configs/grpo_counting.py, for longer: as far as the fall at the start, and the way back, are looked at.
    config.train.update({"steps": 100, "prompts": 32, "minibatches": 1, "rollout_epochs": 1, "micro_batches": 4})
    config.rollout.update({"group": 8, "temperature": 1.0, "top_k": 0, "top_p": 1.0})
    config.rollout.max_completion_length = task.shapes.completion
    config.buckets = {"prompt": (task.shapes.prompt,), "images": (task.shapes.images,), "patches": (64,)}

    config.advantages.update({"scale": "group", "ddof": 1, "epsilon": 1e-4})
    config.loss.update({"surrogate": "on_policy", "aggregation": "sequence_mean_token_mean"})
    config.loss.update({"beta": 0.2, "kl_estimator": "k3", "entropy_coefficient": 0.0})
    config.optimizer.update({"b1": 0.9, "b2": 0.98, "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": 1.0})
    config.optimizer.schedule.update({"name": "linear", "peak": 2e-4, "warmup_steps": 5})
    config.model.update({"dtype": "float32", "remat": "dots"})

    config.eval.update({"every": 20, "examples": 256, "batch": 64})
    config.checkpoint.update({"every": 25, "keep_last": 1, "keep_best": 1})
    return finish(config, arg)
