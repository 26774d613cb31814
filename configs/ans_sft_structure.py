"""ANS-SFT on structure perception: supervised fine-tuning on direct answers.

python launch/train.py --config=configs/ans_sft_structure.py
python launch/train.py --config=configs/ans_sft_structure.py:2b,init=/ckpt/2b,data=/data/structure
"""

from rrft_jax.config.recipes import finish, start, supervised


def get_config(arg=None):
    config, arg = start("structure_perception", arg)
    supervised(config, "ans")
    config.train.steps = 100
    config.optimizer.schedule.update({"peak": 3e-4, "warmup_steps": 10})
    return finish(config, arg)
