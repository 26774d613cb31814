"""The shapes that a plan needs where a config leaves them to the data."""

from ml_collections import ConfigDict

from rrft_jax.models.published_sizes import SIZES
from rrft_jax.pretrained import load_init
from rrft_jax.processing.buckets import Buckets
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.algorithms import get_algorithm
from rrft_jax.training.source import make_source


def with_buckets(config: ConfigDict) -> ConfigDict:
    """The config with the largest bucket that its records need, where config.buckets are "auto"; else unchanged.

    The records are read as a run does it. Raises ValueError for a size without a directory, which has no tokenizer.
    """
    if not Buckets(**config.buckets).auto:
        return config
    if config.init in SIZES:
        raise ValueError(
            f"config.buckets=auto measures the records with the tokenizer of a model, and init={config.init} has none: "
            "give a directory, or sizes such as --config.buckets.prompt=512,1024"
        )
    task, algorithm = get_task(config.task), get_algorithm(config.algorithm)
    model, processor = load_init(config)
    source = make_source(
        config, task, processor, trainable=algorithm.check_example(config, task, processor),
        asked=algorithm.prompt(config),
        longest=model.config.max_position_embeddings - config.rollout.max_completion_length,
    )  # fmt: skip
    config = config.copy_and_resolve_references()
    largest = max(source.buckets, key=lambda b: (b.prompt_tokens, b.images * b.patches))
    config.buckets = {
        "prompt": (largest.prompt_tokens,), "images": (largest.images,), "patches": (largest.patches,)
    }  # fmt: skip
    return config
