"""Visual-RFT (arXiv 2503.01785): GRPO on boxes and names, without SFT before it. Copy it for a recipe of your own.

    python launch/train.py --config=configs/visual_rft.py:detection                # or classification, grounding
    python launch/train.py --config=configs/visual_rft.py:classification,shots=4   # 4 pictures of each of 24 classes
    python launch/train.py --config=configs/visual_rft.py:detection,7b,paper,init=/ckpt/7b,data=/data/coco_base65

The bundled model has not seen these tasks: teach it first, with configs/cot_sft.py:detection and
--config.optimizer.schedule.peak=1e-3, and give init=its workdir.
paper: the published settings. Any field: --config.train.steps=200. What is not named here stands in rrft_jax/config/:
nano.py, then defaults.py; what 2b, 7b, data= and runlocal change, in recipes.py.
"""

from rrft_jax.config.command_line import ConfigError
from rrft_jax.config.nano import grpo
from rrft_jax.config.recipes import finish, start

TASKS = ("detection", "classification", "grounding")
CLASSES = 24  # of the generated pictures


def get_config(arg=None):
    config, task, given = start(arg, TASKS, shots=0)  # with the task's rewards
    grpo(config, task)  # sampling, advantages, loss, Adam, lengths: rrft_jax/config/nano.py
    config.seed = 0
    if given.shots:
        if given.task != "classification" or given.data:
            raise ConfigError("config argument shots: it counts generated pictures of a class; records have their own")
        config.data.range = (0, CLASSES * given.shots)

    config.train.update({"steps": 100, "prompts": 16, "micro_batches": 4})
    config.rollout.group = 8
    config.loss.beta = 0.04
    config.optimizer.schedule.update({"peak": 2e-4, "warmup_steps": 5})
    config.eval.update({"every": 20, "examples": 128, "batch": 64})
    config = finish(config, given)
    if given.paper:  # lr 1e-6, beta 0.04 and TRL's defaults are those of `finish`
        few = given.task == "detection" and given.size == "7b"
        config.rollout.update({"group": 4 if few else 8, "temperature": 1.0, "top_p": 1.0, "top_k": 0})
        if given.size != "nano" or given.data:
            config.train.prompts = 16  # 8 devices of one prompt, two accumulation steps
            config.rollout.max_completion_length = 1024
            config.processor.max_pixels = 401_408
        if given.data and not given.runlocal:
            config.train.epochs = {"detection": 2.0, "classification": 1.0, "grounding": 6.0}[given.task]
    return config
