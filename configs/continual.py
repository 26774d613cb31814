"""One task of a sequence (RFT mitigates forgetting, arXiv 2507.05386), from the stage before. launch/continual.py runs
the whole sequence, and measures every task after every stage.

    python launch/continual.py --workdir=workdirs/seq                                      # GRPO
    python launch/continual.py --recipe=configs/continual.py:sft --workdir=workdirs/seq_sft
    python launch/continual.py --mixture --workdir=workdirs/all -- --config.train.steps=60 # all tasks at once
    python launch/continual.py --workdir=workdirs/seq_rif -- --config.data.filter_rollouts=8  # the instance filter
    python launch/continual.py --workdir=workdirs/seq_rloo -- --config.algorithm=rloo
    python launch/continual.py --workdir=workdirs/seq_free -- --config.loss.beta=0         # without a KL penalty
    python launch/continual.py --workdir=workdirs/seq_base -- --config.reference=nano      # to the base in all stages
    python launch/continual.py --recipe=configs/continual.py:direct --workdir=workdirs/seq_direct
    python launch/train.py --config=configs/continual.py:structure                         # one task alone
    python launch/train.py --config=configs/continual.py:structure,qwen2.5-vl-7b,init=DIR,data=FOLDER  # paper's base

sft: supervised fine-tuning on worked solutions. direct: without a chain of thought, in prompt, target and reward.
boxed: the paper's prompts, for records of task vqa, and its rewards of boxed answers; with paper as the original reads.
Any field: --config.train.steps=200. What is not named here is at its default in rrft_jax/config/defaults.py; 2b, 7b,
data=, paper and runlocal change what rrft_jax/config/recipes.py says.
"""

from rrft_jax.config.recipes import finish, start


def get_config(arg=None):
    config, task, arg = start(arg, sft=False, direct=False, boxed=False)  # with the task's rewards
    config.prompt = "ans" if arg.direct else "cot"
    config.seed = 0

    config.train.update({"steps": 20, "prompts": 32, "micro_batches": 4})
    config.data.range = (0, 0) if arg.data else (0, 640)  # of generated examples a set that ends: each of them once
    config.rollout.max_completion_length = task.shapes.completion
    config.buckets = {"prompt": (task.shapes.prompt,), "images": (task.shapes.images,), "patches": (64,)}

    # Both rates are those of the sweeps in docs/miniature.md: most stages start from a policy that reasons, which twice
    # the rate of GRPO unlearns, and SFT keeps more out of domain than at 3e-4.
    if arg.sft:
        config.algorithm = "sft"
        config.sft.target = "ans" if arg.direct else "cot"
        config.optimizer.update({"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": 1.0})
        config.optimizer.schedule.update({"name": "cosine", "peak": 1e-4, "warmup_steps": 5})
    else:
        config.algorithm = "grpo"
        config.reference = ""  # of the KL penalty: the policy at the start of each stage; nano or a directory: that one
        config.train.update({"minibatches": 1, "rollout_epochs": 1})
        config.rollout.update({"group": 8, "temperature": 1.0, "top_k": 0, "top_p": 1.0})
        config.advantages.update({"scale": "group", "ddof": 1, "epsilon": 1e-4})
        config.loss.update({"surrogate": "on_policy", "aggregation": "token_mean"})
        config.loss.update({"beta": 0.04, "kl_estimator": "k3", "entropy_coefficient": 0.0})
        config.optimizer.update({"b1": 0.9, "b2": 0.98, "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": 1.0})
        config.optimizer.schedule.update({"name": "linear", "peak": 1e-4, "warmup_steps": 5})
    config.model.update({"dtype": "float32", "remat": "dots"})

    config.eval.update({"every": 20, "examples": 256, "batch": 64})
    config.checkpoint.update({"every": 20, "keep_last": 1, "keep_best": 0})
    config = finish(config, arg, supervised=arg.sft)
    if arg.direct:
        config.rewards.format = config.rewards.format_paper = 0.0
    if arg.boxed:
        paper, config.prompt = "_paper" if arg.paper else "", "BOXED_ANS" if arg.direct else "BOXED_COT"
        config.rewards.update(dict.fromkeys(config.rewards, 0.0))
        if not arg.direct:
            config.rewards.update({f"boxed_accuracy{paper}": 0.9, f"boxed_format{paper}": 0.1})
        elif arg.paper:
            config.rewards.boxed_accuracy_paper = 1.0
            config.reward_options.boxed_accuracy_paper.whole_text = True
        else:
            config.rewards.accuracy = 1.0
    return config
