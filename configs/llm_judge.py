"""PPO against a judge in place of a reward model, on GSM8K in text alone (arXiv 2506.05748). Copy it for your own.

    python launch/prepare_data.py --source=gsm8k --input=GSM8K --data_dir=data
    D=data/gsm8k/gsm8k/1.0.0
    python launch/train.py --config=configs/llm_judge.py:7b,init=/ckpt/7b,data=$D,adapter=workdirs/judge_sft/adapter
    python launch/train.py --config=configs/llm_judge.py:endpoint,data=$D \\
        --config.reward_options.llm_judge.url=http://127.0.0.1:8000/v1 --config.reward_options.llm_judge.model=judge

in_process (the default): the policy's own frozen base judges, with a judge's adapter (configs/judge_sft.py) or as it
is; no second copy of the base is in memory. endpoint: a served model. The judge alone is the reward; last_number, the
exact match, is measured. The bundled nano shows the mechanics and judges nothing. Any field: --config.train.steps=200.
What is not named here is at its default in rrft_jax/config/defaults.py; 2b, 7b, data= and runlocal change what
rrft_jax/config/recipes.py says.
"""

from rrft_jax.config.recipes import finish, start


def get_config(arg=None):
    config, task, given = start(arg, ("gsm8k",), backend=("in_process", "endpoint"), adapter="")
    config.algorithm = "ppo"
    config.prompt = "cot"
    config.seed = 0
    config.lora.update({"rank": 16, "alpha": 32.0, "parts": ("language",), "targets": (".*",)})  # of the policy

    config.rewards.update({"llm_judge": 1.0, "last_number": 0.0, "format": 0.0})
    judge = config.reward_options.llm_judge
    judge.update({"backend": given.backend, "adapter": given.adapter, "k": 6, "max_tokens": 96, "concurrency": 16})
    if given.adapter:  # which has learnt to compare, without demonstrations
        judge.update({"kind": "pairwise", "k": 0, "baseline": "cot"})  # the record's solution

    config.train.update({"steps": 100, "prompts": 16, "minibatches": 4, "rollout_epochs": 1, "micro_batches": 0})
    config.rollout.update({"group": 1, "temperature": 1.0, "top_k": 0, "top_p": 1.0})
    config.rollout.max_completion_length = task.shapes.completion
    config.buckets = {"prompt": (task.shapes.prompt,), "images": (0,), "patches": (0,)}

    config.ppo.update({"gamma": 1.0, "lam": 0.95, "value_clip": 0.2, "whiten": True, "kl_in_reward": 0.05})
    config.ppo.update({"value_peak": 1e-5, "trunk": "frozen"})
    config.loss.update({"surrogate": "clipped", "aggregation": "token_mean", "epsilon_low": 0.2, "epsilon_high": 0.2})
    config.optimizer.update({"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": 1.0})
    config.optimizer.schedule.update({"name": "constant", "peak": 1e-6, "warmup_steps": 0})
    config.model.update({"dtype": "float32", "remat": "dots"})

    config.eval.update({"every": 25, "examples": 64, "batch": 16})
    config.checkpoint.update({"every": 25, "keep_last": 1, "keep_best": 1})
    config = finish(config, given)
    config.train.micro_batches = 0  # a minibatch may have one prompt
    config.loss.beta = 0.0  # the KL is in the reward
    return config
