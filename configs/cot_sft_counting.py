"""CoT-SFT on visual counting: supervised fine-tuning on reasoning.

python launch/train.py --config=configs/cot_sft_counting.py
python launch/train.py --config=configs/cot_sft_counting.py:2b,init=/ckpt/2b,data=/data/counting
"""

from rrft_jax.config.recipes import finish, start, supervised


def get_config(arg=None):
    config, arg = start("visual_counting", arg)
    supervised(config, "cot")
    config.train.steps = 100
    config.optimizer.schedule.update({"peak": 3e-4, "warmup_steps": 10})
    return finish(config, arg)
