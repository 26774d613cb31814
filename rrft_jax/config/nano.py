"""What the recipes for the bundled model share. Their files add the numbers that make each a recipe: steps, prompts,
group, beta, learning rate, evaluation. configs/grpo_counting.py shows a whole recipe, every number of it.
"""

from ml_collections import ConfigDict

from rrft_jax.tasks.task import Task


def grpo(config: ConfigDict, task: Task) -> None:
    """Sampling, advantages, loss and Adam of GRPO on chain-of-thought prompts, one update per sampled batch."""
    _common(config, task)
    config.algorithm = "grpo"
    config.prompt = "cot"
    config.train.update({"minibatches": 1, "rollout_epochs": 1})
    config.rollout.update({"temperature": 1.0, "top_k": 0, "top_p": 1.0})
    config.advantages.update({"scale": "group", "ddof": 1, "epsilon": 1e-4})
    config.loss.update({"surrogate": "on_policy", "aggregation": "sequence_mean_token_mean"})
    config.loss.update({"kl_estimator": "k3", "entropy_coefficient": 0.0})
    config.optimizer.update({"b1": 0.9, "b2": 0.98, "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": 1.0})
    config.optimizer.schedule.name = "linear"


def sft(config: ConfigDict, task: Task, target: str) -> None:
    """Adam of supervised fine-tuning. target: cot, the reasoning and the answer, or ans, the answer alone; prompts ask
    for the same."""
    _common(config, task)
    config.algorithm = "sft"
    config.prompt = target
    config.sft.target = target
    config.optimizer.update({"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": 1.0})
    config.optimizer.schedule.name = "cosine"


def _common(config: ConfigDict, task: Task) -> None:
    """Precision, checkpoints, and the lengths of the task."""
    config.rollout.max_completion_length = task.shapes.completion
    config.buckets = {"prompt": (task.shapes.prompt,), "images": (task.shapes.images,), "patches": (64,)}
    config.model.update({"dtype": "float32", "remat": "dots"})
    config.checkpoint.update({"every": 25, "keep_last": 1, "keep_best": 1})
