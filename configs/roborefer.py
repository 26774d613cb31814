"""RoboRefer (arXiv 2506.04308): GRPO on points with rewards for the steps before them. Copy it for one of your own.

    python launch/train.py --config=configs/roborefer.py
    python launch/train.py --config=configs/roborefer.py:2b,paper,init=/ckpt/sft,data=/data/refspatial

The bundled model has not seen this task: teach it first, configs/cot_sft.py:referring, and give init=its workdir.
paper: the published settings. Any field: --config.train.steps=200. What is not named here is at its default in
rrft_jax/config/defaults.py; 2b, 7b, data= and runlocal change what rrft_jax/config/recipes.py says.
"""

from rrft_jax.config.recipes import finish, start


def get_config(arg=None):
    config, task, given = start(arg, ("referring",))  # with the task's rewards
    config.algorithm = "grpo"
    config.prompt = "cot"
    config.seed = 0

    config.train.update({"steps": 100, "prompts": 16, "minibatches": 1, "rollout_epochs": 1, "micro_batches": 8})
    config.rollout.update({"group": 8, "temperature": 1.0, "top_k": 0, "top_p": 1.0})
    config.rollout.max_completion_length = task.shapes.completion
    config.buckets = {"prompt": (task.shapes.prompt,), "images": (task.shapes.images,), "patches": (64,)}

    config.advantages.update({"scale": "group", "ddof": 1, "epsilon": 1e-4})
    config.loss.update({"surrogate": "on_policy", "aggregation": "sequence_mean_token_mean"})
    config.loss.update({"beta": 0.04, "kl_estimator": "k3", "entropy_coefficient": 0.0})
    config.optimizer.update({"b1": 0.9, "b2": 0.98, "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": 1.0})
    config.optimizer.schedule.update({"name": "linear", "peak": 2e-4, "warmup_steps": 5})
    config.model.update({"dtype": "float32", "remat": "dots"})

    config.eval.update({"every": 20, "examples": 128, "batch": 64})
    config.checkpoint.update({"every": 25, "keep_last": 1, "keep_best": 1})
    config = finish(config, given)
    if given.paper:  # "as R1-V": lr 1e-6, beta 0.04 and TRL's defaults are those of `finish`
        config.rollout.update({"group": 8, "temperature": 1.0, "top_p": 1.0, "top_k": 0})
        if given.size != "nano" or given.data:
            config.train.prompts = 8  # one on each of 8 devices
        if given.data and not given.runlocal:
            config.train.epochs = 2.0
    return config
