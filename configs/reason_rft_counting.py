"""Reason-RFT on visual counting: stage 1 is CoT-SFT on 1,600 examples, stage 2 GRPO on the rest.

python launch/train.py --config=configs/reason_rft_counting.py
python launch/train.py --config=configs/reason_rft_counting.py:2b,init=/ckpt/2b,data=/data/counting

One command for both stages, which resumes in whichever it was. Fields of stage 1: --config.stage1.train.epochs=2
"""

from rrft_jax.config.recipes import after_stage1, finish, nano_grpo, start, supervised


def get_config(arg=None):
    stage1, given = start("visual_counting", arg)
    supervised(stage1, "cot")
    stage1.train.epochs = 1.0
    stage1.optimizer.schedule.update({"peak": 3e-4, "warmup_steps": 10})
    config, _ = start("visual_counting", arg)
    nano_grpo(config)
    return after_stage1(finish(stage1, given), finish(config, given))
