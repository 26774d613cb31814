"""One task of a sequence (RFT mitigates forgetting, arXiv 2507.05386): GRPO from the stage before. launch/continual.py
runs the whole sequence, and measures every task after every stage.

    python launch/continual.py --recipe=configs/continual.py --tasks=counting,structure,spatial --workdir=workdirs/seq
    python launch/continual.py --recipe=configs/continual.py --workdir=workdirs/seq_rloo -- --config.algorithm=rloo
    python launch/continual.py --recipe=configs/continual.py --workdir=workdirs/seq_free -- --config.loss.beta=0
    python launch/continual.py --recipe=configs/cot_sft.py --workdir=workdirs/seq_sft -- --config.train.steps=60
    python launch/train.py --config=configs/continual.py:structure            # one task alone

Any field: --config.train.steps=200. What is not named here is at its default in rrft_jax/config/defaults.py; 2b, 7b,
data=, paper and runlocal change what rrft_jax/config/recipes.py says.
"""

from rrft_jax.config.recipes import finish, start


def get_config(arg=None):
    config, task, arg = start(arg)  # with the task's rewards
    config.algorithm = "grpo"
    config.prompt = "cot"
    config.seed = 0
    config.reference = ""  # of the KL penalty: the policy at the start of each stage; nano or a directory: always that

    config.train.update({"steps": 60, "prompts": 32, "minibatches": 1, "rollout_epochs": 1, "micro_batches": 4})
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
