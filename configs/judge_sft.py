"""A judge: LoRA SFT on preferences with rationales (plug-and-play judges, arXiv 2506.05748). What it leaves in
WORKDIR/adapter is a judge for configs/llm_judge.py and launch/judge_bench.py --checkpoint=<init> --adapter=.

    python launch/train.py --config=configs/judge_sft.py                              # sums, generated
    python launch/prepare_data.py --source=preferences --input=FOLDER --data_dir=data # {"prompt", "chosen", "rejected"}
    python launch/train.py --config=configs/judge_sft.py:7b,init=/ckpt/7b,data=data/preferences/judging/1.0.0

Preferences without rationales: --config.sft.target=ans. Any field: --config.train.steps=200. What is not named here is
at its default in rrft_jax/config/defaults.py; 2b, 7b, data= and runlocal change what rrft_jax/config/recipes.py says.
"""

from rrft_jax.config.recipes import finish, start


def get_config(arg=None):
    config, task, given = start(arg, ("judging",))
    config.algorithm = "sft"
    config.prompt = "cot"
    config.sft.target = "cot"  # the verdict with its rationale
    config.seed = 0
    config.lora.update({"rank": 16, "alpha": 32.0, "parts": ("language",), "targets": (".*",)})

    config.train.update({"steps": 100, "prompts": 16, "micro_batches": 4})
    config.rollout.max_completion_length = task.shapes.completion
    config.buckets = {"prompt": (task.shapes.prompt,), "images": (0,), "patches": (0,)}

    config.optimizer.update({"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": 1.0})
    config.optimizer.schedule.update({"name": "cosine", "peak": 5e-3, "warmup_steps": 5})  # nano's
    config.model.update({"dtype": "float32", "remat": "dots"})

    config.eval.update({"every": 50, "examples": 32, "batch": 16})
    config.checkpoint.update({"every": 50, "keep_last": 1, "keep_best": 1})
    config = finish(config, given, supervised=True)
    if given.size != "nano":
        config.optimizer.schedule.peak = 1e-4
        config.buckets = {"prompt": (1024, 2048), "images": (0,), "patches": (0,)}  # rubric, prompt and two responses
    return config
