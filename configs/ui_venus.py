"""UI-Venus (arXiv 2508.10833): GRPO on boxes and actions on screens. Copy this file for a recipe of your own.

    python launch/train.py --config=configs/ui_venus.py:screen        # grounding: the box of an element
    python launch/train.py --config=configs/ui_venus.py:navigation    # the next action of a task
    python launch/train.py --config=configs/ui_venus.py:screen,qwen2.5-vl-7b,paper,init=/ckpt/7b,data=/data/screens

The bundled model has not seen these tasks: teach it first, with configs/cot_sft.py:screen and
--config.optimizer.schedule.peak=1e-3, and give init=its workdir.
paper: the published settings of the 7B model, a Qwen2.5-VL (pixels of the resized picture as coordinates). Any field:
--config.train.steps=200. What is not named here stands in rrft_jax/config/: nano.py, then defaults.py; what 2b, 7b,
data= and runlocal change, in recipes.py.
"""

from rrft_jax.config.nano import grpo
from rrft_jax.config.recipes import finish, start, token_side

TASKS = ("screen", "navigation")
PIXELS = {"min_pixels": 2_000_000, "max_pixels": 4_800_000}


def get_config(arg=None):
    config, task, given = start(arg, TASKS)  # with the task's rewards
    grpo(config, task)  # sampling, advantages, loss, Adam, lengths: rrft_jax/config/nano.py
    config.seed = 0
    config.train.update({"steps": 100, "prompts": 16, "micro_batches": 4})
    config.rollout.group = 8
    config.loss.beta = 0.04
    config.optimizer.schedule.update({"peak": 2e-4, "warmup_steps": 5})
    config.eval.update({"every": 20, "examples": 128, "batch": 64})
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
                config.buckets.update({"prompt": (3_072, 7_168), "patches": (10_240, 24_576)})  # a quarter are tokens
        for name in readers:  # which read what the model says of the picture that it sees
            side = token_side(given.size)
            config.reward_options[name].update({"coordinates": "resized", "token_side": side, **limits})
        if given.data and not given.runlocal:
            config.train.epochs = 10.0
    return config
