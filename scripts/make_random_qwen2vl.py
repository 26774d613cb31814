"""Writes a Qwen2-VL of real size with random weights: bfloat16, sharded safetensors, the published tokenizer.

    python scripts/make_random_qwen2vl.py --config=tests/fixtures/qwen2-vl-configs/2b.json --out=/tmp/qwen2vl-2b

It computes what a released checkpoint of these sizes computes, so memory, time and agreement with other programs can be
measured without a download. Its answers are meaningless. About 4.4 GB for 2B, the same bytes for the same seed.
"""

import json
import zlib
from pathlib import Path

import ml_dtypes
import numpy as np
from absl import app, flags

from rrft_jax.models.files import write_shards
from rrft_jax.models.paths import leaf_paths
from rrft_jax.models.registry import family_of, read_config_file
from rrft_jax.models.weights import abstract_params, published_sizes, tensor_names
from rrft_jax.processing.processor import load_processor, save_processor

_CONFIG = flags.DEFINE_string("config", "tests/fixtures/qwen2-vl-configs/2b.json", "config.json with the sizes.")
_TOKENIZER = flags.DEFINE_string("tokenizer", "tests/fixtures/qwen2-tokenizer", "Directory of tokenizer and processor.")
_OUT = flags.DEFINE_string("out", None, "HuggingFace directory to write.", required=True)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the weights.")
_SHARD_BYTES = flags.DEFINE_integer("shard_bytes", 2 * 2**30, "Largest file.", lower_bound=1)


def draw(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """bfloat16 values of one tensor: fan-in scaled kernels, so that every layer's output has a deviation near 1.

    Addressed by (seed, name), so that a tensor does not depend on those before it. Norm scales lie around 1 and biases
    around 0, neither exactly there, so that a program that leaves one out shows a difference.
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    x = rng.standard_normal(shape, np.float32)
    if len(shape) == 1:
        x = 0.1 * x + (name.endswith("weight"))
    elif "embed_tokens" in name or "lm_head" in name:
        x *= 0.02
    else:
        x *= np.float32(np.prod(shape[1:]) ** -0.5)
    return x.astype(ml_dtypes.bfloat16)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: every option is a --flag=value")
    config = read_config_file(Path(_CONFIG.value))
    shapes, names = leaf_paths(abstract_params(config)), tensor_names(config)
    out = Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)

    def tensors():
        for path, leaf in shapes.items():
            name, stacked = names.published(path)
            shape = names.shape(path, leaf.shape[1:] if stacked else leaf.shape)
            for layer in range(leaf.shape[0]) if stacked else [None]:
                yield name.format(layer), draw(name.format(layer), shape, _SEED.value)

    sizes = published_sizes(shapes, 2, names)
    write_shards(out, sizes, tensors(), _SHARD_BYTES.value)
    settings = family_of(config).write_sizes(config, "bfloat16")
    (out / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    save_processor(load_processor(_TOKENIZER.value, sizes=config), out)
    print(f"{out}: {sum(leaf.size for leaf in shapes.values()):,} parameters, {sum(sizes.values()):,} bytes")


if __name__ == "__main__":
    app.run(main)
