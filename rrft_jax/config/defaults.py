"""Every field a recipe can set, with its default; the files in configs/ change what they mean to change."""

import dataclasses

from ml_collections import ConfigDict, config_dict

from rrft_jax.losses.grpo import GRPOLoss
from rrft_jax.rewards.options import registered_options
from rrft_jax.rewards.registry import REWARDS


def base_config() -> ConfigDict:
    """The nano counting recipe's shapes on a CPU; lengths are tokens, sizes pixels."""
    config = ConfigDict()
    config.algorithm = "grpo"  # grpo | sft | your own: my_algorithm.py:ALGORITHM
    config.stage1 = ConfigDict()  # a config of its own, trained first; its result is this one's init. Empty: no stage 1
    # auto | a task's name | my_task.py:TASK. auto: visual_counting; of records the task they name, of others vqa
    config.task = "auto"
    config.init = "nano"  # nano | a HuggingFace directory | the workdir of a finished run | a LoRA adapter (merged)
    config.seed = 0
    config.prompt = "cot"  # zero_shot | ans | cot | a template of the task | a file; for training and evaluation alike

    config.data = ConfigDict({
        "folder": "",  # of launch/prepare_data.py, or JSON lists of records; empty: scenes rendered on the fly
        "split": "",  # of a prepared folder; empty: train
        "image_root": "",  # where their image paths start; empty: the folder, its images/ or train_images/
        "strict": False,  # stop at the first bad record instead of skipping and listing it
        "held_out": 0.1,  # share of the records kept for evaluation
        "range": (0, 0),  # first place and end of the examples to train on, in a fixed random order; end 0: all of them
    })  # fmt: skip
    config.processor = ConfigDict({
        "min_pixels": 0, "max_pixels": 0,  # 0: what the model's directory says
        "nearest_pixels": 0,  # larger pictures are first reduced to this area by nearest neighbours; 0: never
        "images": "first",  # first | in_question: in front of all text, or each on a line in front of the question
    })  # fmt: skip
    # Shapes of a batch: prompt tokens, image slots, patches of a slot. ("auto",): chosen from the records of a folder.
    config.buckets = ConfigDict({"prompt": (88,), "images": (1,), "patches": (64,)})
    config.model = ConfigDict({
        "dtype": "float32",  # of products and activations
        "frozen_dtype": "float32",  # of parameters that are not trained, and of the reference; trained ones are float32
        "remat": "dots",  # what the backward pass computes again: none | dots (all but projections, attention) | full
        "attention": "auto",  # of many tokens at once, not of the decode loop: auto | xla | splash (TPU) | cudnn (GPU)
        "logits_chunk": 32,
    })  # fmt: skip
    config.lora = ConfigDict({
        "rank": 0,  # 0: off, every parameter is trained; else only the adapter is
        "alpha": 32.0,  # the update is alpha / rank times A B
        "parts": ("language",),  # language, vision
        "targets": (".*",),  # regular expressions on layer names (q, k, v, o, gate, up, down; qkv, proj, fc1, fc2)
        "adapter": "",  # an adapter of `init` to continue training, in PEFT's format; empty: a new one
    })  # fmt: skip
    config.mesh = ConfigDict({
        "preset": "",  # data | fsdp | fsdp+tensor, instead of sizes
        "data": -1, "fsdp": 1, "tensor": 1,  # devices along each axis; -1: those that are left
    })  # fmt: skip

    config.rollout = ConfigDict({
        "group": 8, "max_completion_length": 96, "temperature": 1.0, "top_k": 0, "top_p": 1.0,
        "ahead": 0,  # 1: completions are drawn one step ahead, by the parameters before the update they overlap with
        "compact": 0,  # 8: once 1/8 of the completions is unfinished, continue in a batch of that size; 0: never
        "cache_parts": 1,  # 4: the completions' cache grows in 4 steps, and attention reads no more than is there
    })  # fmt: skip
    # Weights. 0: not computed, but for format and what the task counts as a right answer, which are always logged.
    config.rewards = ConfigDict({name: 0.0 for name in REWARDS} | {"accuracy": 1.0, "format": 1.0})
    # Rewards from outside the package, "my_rewards.py:NAME=0.5" each; --reward adds to them.
    config.extra_rewards = ()
    config.reward_options = ConfigDict(registered_options())  # by reward, e.g. reward_options.length.warmup_steps
    config.advantages = ConfigDict({
        "estimator": "grpo",  # or a function of your own, my_estimator.py:NAME; the other fields are its options
        "scale": "group", "ddof": 1, "epsilon": 1e-4,
    })  # fmt: skip
    config.loss = ConfigDict()
    for field in dataclasses.fields(GRPOLoss):
        if field.name != "max_completion_length":  # it is rollout.max_completion_length
            value = field.default
            config.loss[field.name] = config_dict.placeholder(float) if value is None else value
    config.loss.full_softmax = False  # score over all V tokens, as transformers and TRL do, not the allowed ones
    config.loss.temperature = config_dict.placeholder(float)  # of the scored distribution; None: the rollout's
    config.loss.type = ""  # one of TRL's loss_type names, in place of surrogate and aggregation
    config.sft = ConfigDict({
        "target": "cot",  # cot | ans
        "turns": "all",  # all | last: the assistant's messages trained on, in a conversation of several turns
    })  # fmt: skip

    config.optimizer = ConfigDict({
        "b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": 1.0,
        # warmup_ratio: share of the run, in place of warmup_steps
        # from_zero: the warm-up's first step has rate 0, as in transformers
        "schedule": {"name": "linear", "peak": 1e-6, "warmup_steps": 0, "warmup_ratio": 0.0, "from_zero": False},
    })  # fmt: skip
    config.train = ConfigDict({
        "steps": 100,
        "epochs": 0.0,  # passes over the examples, in place of steps; 0: steps
        "prompts": 32,  # B: prompts of a batch, all devices together
        "minibatches": 1,  # parts of the prompts of a sampled batch, an update on each; steps count updates
        "rollout_epochs": 1,  # passes over a sampled batch, each in an order of its own (TRL: num_iterations)
        "micro_batches": 4,  # parts of a step that are in memory one at a time; 0: one prompt of each device at a time
        "group_chunks": 1,  # parts of each group, within a micro-batch; tower and prompt still run once per prompt
        "freeze": (),  # regular expressions on parameter paths, such as "^vision/"
        "max_skipped": 10,  # stop after so many non-finite updates in a row
    })  # fmt: skip
    config.eval = ConfigDict({"every": 25, "examples": 256, "batch": 64})
    config.checkpoint = ConfigDict({"every": 25, "keep_last": 1, "keep_best": 1})
    config.log = ConfigDict(
        {"completions_every": 10, "completions_prompts": 4, "sinks": ("tensorboard",), "progress_every": 5}
    )
    config.log.held_out_prompts = 4  # of each held-out set: questions whose answers are kept at each evaluation
    config.log.report = True  # report.html at each evaluation and at the end
    return config
