"""Reason-RFT: stage 1 is CoT-SFT on the first 1,600 examples, stage 2 GRPO on the others. Copy it for one of your own.

    python launch/train.py --config=configs/reason_rft.py                           # visual counting
    python launch/train.py --config=configs/reason_rft.py:structure                 # counting, structure or spatial
    python launch/train.py --config=configs/reason_rft.py:spatial,2b,init=/ckpt/2b,data=/data/spatial
    python launch/train.py --config=configs/reason_rft.py:vqa,data=/data/mine       # your own records
    python launch/train.py --config=configs/reason_rft.py:task=my_task.py:TASK      # your own task

One command for both stages, which resumes in whichever it was. Any field: --config.train.steps=200, of stage 1
--config.stage1.train.epochs=2. What is not named here is at its default in rrft_jax/config/defaults.py; 2b, 7b, data=,
paper and runlocal change what rrft_jax/config/recipes.py says.
"""

from rrft_jax.config.recipes import finish, start


def get_config(arg=None):
    config, task, given = start(arg)  # with the task's rewards
    config.algorithm = "grpo"
    config.stage1 = stage1(arg)
    # Where a task has few examples (structure), stage 2 trains on all of them.
    config.data.range = (task.stages.first, 0) if task.stages.rest else (0, 0)

    config.train.update({"steps": 60, "prompts": 32, "minibatches": 1, "rollout_epochs": 1, "micro_batches": 4})
    config.rollout.update({"group": 8, "temperature": 1.0, "top_k": 0, "top_p": 1.0})
    config.advantages.update({"scale": "group", "ddof": 1, "epsilon": 1e-4})
    config.loss.update({"surrogate": "on_policy", "aggregation": "sequence_mean_token_mean"})
    config.loss.update({"beta": 0.2, "kl_estimator": "k3", "entropy_coefficient": 0.0})
    config.optimizer.update({"b1": 0.9, "b2": 0.98, "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": 1.0})
    config.optimizer.schedule.update({"name": "linear", "peak": 2e-4, "warmup_steps": 5})
    config.eval.update({"every": 20, "examples": 256, "batch": 64})
    return finish(shared(config, task), given)


def stage1(arg):
    config, task, given = start(arg)
    config.algorithm = "sft"
    config.sft.target = "cot"
    config.data.range = (0, task.stages.first)

    config.train.update({"epochs": 1.0, "prompts": 32, "micro_batches": 4})
    config.optimizer.update({"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": 1.0})
    config.optimizer.schedule.update({"name": "cosine", "peak": 3e-4, "warmup_steps": 10})
    config.eval.update({"every": 25, "examples": 256, "batch": 64})
    return finish(shared(config, task), given, supervised=True)


def shared(config, task):
    """What both stages have alike."""
    config.prompt = "cot"
    config.seed = 0
    config.rollout.max_completion_length = task.shapes.completion
    config.buckets = {"prompt": (task.shapes.prompt,), "images": (task.shapes.images,), "patches": (64,)}
    config.model.update({"dtype": "float32", "remat": "dots"})
    config.checkpoint.update({"every": 25, "keep_last": 1, "keep_best": 1})
    return config
