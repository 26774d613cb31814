"""UI-Venus (arXiv 2508.10833): GRPO on boxes and actions on screens. Copy this file for a recipe of your own.

    python launch/train.py --config=configs/ui_venus.py:screen        # grounding: the box of an element
    python launch/train.py --config=configs/ui_venus.py:navigation    # the next action of a task
    python launch/train.py --config=configs/ui_venus.py:screen,7b,paper,init=/ckpt/7b,data=/data/screens

The bundled model has not seen these tasks: teach it first, configs/cot_sft.py:screen, and give init=its workdir.
paper: the published settings of the 7B model (pixels of the resized picture as coordinates). Any field:
--config.train.steps=200. What is not named here is at its default in rrft_jax/config/defaults.py; 2b, 7b, data= and
runlocal change what rrft_jax/config/recipes.py says.
"""

from rrft_jax.config.recipes import finish, start

TASKS = ("screen", "navigation")
PIXELS = {"min_pixels": 2_000_000, "max_pixels": 4_800_000}


def get_config(arg=None):
    config, task, given = start(arg, TASKS)  # with the task's rewards
    config.algorithm = "grpo"
    config.prompt = "cot"
    config.seed = 0

    config.train.update({"steps": 100, "prompts": 16, "minibatches": 1, "rollout_epochs": 1, "micro_batches": 4})
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
    if given.paper:
        screen = given.task == "screen"
        readers = ("in_box",) if screen else ("action_coordinates", "action_step")
        config.rollout.update({"group": 8, "temperature": 1.0, "top_p": 1.0, "top_k": 0})
        config.loss.beta = 4e-3 if screen else 1e-3
        config.optimizer.schedule.peak = 4e-7
        config.train.freeze = () if screen else ("^vision/",)
        limits = {"min_pixels": 3_136, "max_pixels": config.processor.max_pixels or 12_544}  # nano's own
        if given.size != "nano":
            limits = PIXELS
            config.processor.update(limits)
            config.train.prompts = 128 if screen else 256
            config.rollout.max_completion_length = 128 if screen else 512
            if config.buckets.patches != ("auto",):
                config.buckets.patches = (10_240, 24_576)
        for name in readers:  # which read what the model says of the picture that it sees
            config.reward_options[name].update({"coordinates": "resized", **limits})
        if given.data and not given.runlocal:
            config.train.epochs = 10.0
    return config
