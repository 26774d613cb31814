"""Changes to a recipe that come together: a real model's size, real pictures, a quick look."""

from ml_collections import ConfigDict


def real_size(config: ConfigDict, arg: ConfigDict) -> None:
    """Qwen2-VL-2B / 7B from a HuggingFace directory: bfloat16 products, rematerialised layers, the paper's lengths.

    Without a directory `init` is the size's name, which is enough to compile and to plan memory, not to train.
    """
    config.init = arg.init or arg.size
    config.model.update({"dtype": "bfloat16", "frozen_dtype": "bfloat16", "remat": "full"})
    config.processor.max_pixels = 480_000
    config.rollout.max_completion_length = 512
    config.buckets = {"prompt": (512, 1024), "images": (1, 2), "patches": (1024, 2560)}
    config.train.micro_batches = 0


def real_data(config: ConfigDict, arg: ConfigDict) -> None:
    """Records of a folder at their own picture size (up to 480,000 pixels, the paper's limit)."""
    config.data.folder = arg.data
    config.processor.max_pixels = 480_000
    if arg.size == "nano":
        # 480x320 gives 748 patches, 640x480 1564, the limit 2448; a quarter as many visual tokens, and the text.
        config.buckets = {"prompt": (320, 512, 768), "images": (1,), "patches": (768, 1600, 2560)}
        # Words it has not met cost the byte-level nano tokenizer several tokens, in questions and in reasoning.
        config.rollout.max_completion_length = 192
        config.train.update({"prompts": 4, "micro_batches": 2})
        config.eval.update({"examples": 64, "batch": 8})


def local(config: ConfigDict) -> None:
    """Everything shrunk: the whole path in about a minute."""
    config.train.update({"steps": 4, "prompts": 4, "micro_batches": 2})
    config.optimizer.schedule.warmup_steps = 0
    config.rollout.group = 4
    config.eval.update({"every": 2, "examples": 16, "batch": 16})
    config.checkpoint.every = 2
    config.log.completions_every = 2
