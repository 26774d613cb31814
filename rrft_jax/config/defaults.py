"""Every field a recipe can set, with its default; the files in configs/ change what they mean to change.

Groups with fixed fields, each with its meaning, are in groups.py.
"""

import dataclasses

from ml_collections import ConfigDict, config_dict

from rrft_jax.config.groups import default_group
from rrft_jax.losses.grpo import GRPOLoss
from rrft_jax.rewards.options import registered_options
from rrft_jax.rewards.registry import REWARDS


def base_config() -> ConfigDict:
    """The nano counting recipe's shapes on a CPU; lengths are tokens, sizes pixels."""
    config = ConfigDict()
    # grpo | sft | ppo | dr_grpo | dapo | gspo | cispo | sapo | rloo | remax | reinforce_pp: GRPO with fields of their
    # own (docs/algorithms.md) | your own: my_algorithm.py:ALGORITHM
    config.algorithm = "grpo"
    config.stage1 = ConfigDict()  # a config of its own, trained first; its result is this one's init. Empty: no stage 1
    # auto | a task's name | my_task.py:TASK. auto: visual_counting; vqa of records that name no task
    config.task = "auto"
    config.init = "nano"  # nano | a HuggingFace directory | the workdir of a finished run | a LoRA adapter (merged)
    config.reference = ""  # of the KL penalty, as init; empty: the policy at the start
    config.seed = 0
    config.prompt = "cot"  # zero_shot | ans | cot | a template of the task | a file; for training and evaluation alike

    for name in ("data", "processor"):
        config[name] = default_group(name)
    # Shapes of a batch: prompt tokens, image slots, patches of a slot. ("auto",): chosen from the records of a folder.
    config.buckets = ConfigDict({"prompt": (88,), "images": (1,), "patches": (64,)})
    for name in ("model", "lora", "mesh", "rollout"):
        config[name] = default_group(name)
    # Weights. 0: not computed, but for format and what the task counts as a right answer, which are always logged.
    config.rewards = ConfigDict({name: 0.0 for name in REWARDS} | {"accuracy": 1.0, "format": 1.0})
    # Rewards from outside the package, "my_rewards.py:NAME=0.5" each; --reward adds to them.
    config.extra_rewards = ()
    config.reward_options = ConfigDict(registered_options())  # by reward, e.g. reward_options.length.warmup_steps
    config.advantages = ConfigDict({
        # grpo | rloo | remax | reinforce_pp | reinforce_pp_baseline | gdpo, or a function of your own,
        # my_estimator.py:NAME; the other fields are its options
        "estimator": "grpo",
        "scale": "group", "ddof": 1, "epsilon": 1e-4,
        "gamma": 1.0,  # discount of a token, reinforce_pp's
    })  # fmt: skip
    config.loss = ConfigDict()
    for field in dataclasses.fields(GRPOLoss):
        if field.name != "max_completion_length":  # it is rollout.max_completion_length
            value = field.default
            config.loss[field.name] = config_dict.placeholder(float) if value is None else value
    config.loss.full_softmax = False  # score over all V tokens, as transformers and TRL do, not the allowed ones
    config.loss.temperature = config_dict.placeholder(float)  # of the scored distribution; None: the rollout's
    config.loss.mask_truncated = False  # completions that were cut off have no loss; their rewards count in the group
    config.loss.top_entropy = 1.0  # share of the tokens, the most uncertain ones, that have a policy loss; 1: all
    config.loss.type = ""  # one of TRL's loss_type names, in place of surrogate and aggregation
    for name in ("ppo", "sft", "optimizer", "train", "eval", "checkpoint", "log"):
        config[name] = default_group(name)
    return config
