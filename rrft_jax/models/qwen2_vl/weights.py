"""Parameters from and to a HuggingFace directory: one table of names, every mismatch listed in one error."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from rrft_jax.models.qwen2_vl.config import Qwen2VLConfig, config_to_dict, read_config
from rrft_jax.models.qwen2_vl.model import Qwen2VL, init_params

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

# our module (below language/layers or vision/blocks) -> published module
_LAYER = {
    "input_norm": "input_layernorm",
    "post_norm": "post_attention_layernorm",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
_BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "qkv": "attn.qkv",
    "proj": "attn.proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}
_SINGLES = {
    "language/embed": "model.embed_tokens",
    "language/norm": "model.norm",
    "language/lm_head": "lm_head",
    "vision/patch_embed/proj": "visual.patch_embed.proj",
    "vision/merger/ln_q": "visual.merger.ln_q",
    "vision/merger/fc1": "visual.merger.mlp.0",
    "vision/merger/fc2": "visual.merger.mlp.2",
}
# Names in use besides the published ones: transformers 4.52 and later keep the decoder and the tower under `model.`.
_ALIASES = (
    (re.compile(r"^model\.language_model\."), "model."),
    (re.compile(r"^language_model\.model\."), "model."),
    (re.compile(r"^model\.visual\."), "visual."),
)


def published_name(path: str) -> tuple[str, bool]:
    """The published tensor name of our leaf `path` ('language/layers/q/kernel') and whether it is one per layer.

    Stacked names hold '{}' for the layer's number.
    """
    module, leaf = path.rsplit("/", 1)
    suffix = "bias" if leaf == "bias" else "weight"
    if module in _SINGLES:
        return f"{_SINGLES[module]}.{suffix}", False
    if module.startswith("language/layers/"):
        return f"model.layers.{{}}.{_LAYER[module.split('/')[2]]}.{suffix}", True
    if module.startswith("vision/blocks/"):
        return f"visual.blocks.{{}}.{_BLOCK[module.split('/')[2]]}.{suffix}", True
    raise KeyError(path)


def leaf_paths(tree: dict) -> dict[str, jax.ShapeDtypeStruct]:
    """'/'-joined path -> leaf."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {"/".join(k.key for k in path): leaf for path, leaf in flat}


def from_paths(leaves: dict) -> dict:
    tree: dict = {}
    for path, leaf in leaves.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def abstract_params(config: Qwen2VLConfig) -> dict:
    """Shapes and dtypes (float32) of all parameters, without making any."""
    return jax.eval_shape(lambda k: init_params(Qwen2VL(config), k), jax.random.key(0))


def _published_shape(path: str, shape: tuple[int, ...], config: Qwen2VLConfig) -> tuple[int, ...]:
    if path == "vision/patch_embed/proj/kernel":
        v = config.vision
        return (v.embed_dim, v.in_channels, v.temporal_patch_size, v.patch_size, v.patch_size)
    return shape[::-1] if path.endswith("kernel") else shape


def _to_ours(path: str, x: np.ndarray) -> np.ndarray:
    """Published layout (out, in) to ours (in, out); the patch convolution is flattened to a matrix first."""
    return x.reshape(x.shape[0], -1).T if path.endswith("kernel") else x


def _shards(directory: Path) -> dict[str, list[str]]:
    """File -> tensor names. Raises FileNotFoundError or ValueError naming what is missing or damaged."""
    index = directory / INDEX
    if index.is_file():
        shards: dict[str, list[str]] = {}
        try:
            homes = json.loads(index.read_text())["weight_map"].items()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{index}: not a safetensors index ({error!r}); download it again") from error
        for name, file in homes:
            shards.setdefault(file, []).append(name)
        missing = sorted(f for f in shards if not (directory / f).is_file())
        if missing:
            raise FileNotFoundError(f"{index} names {', '.join(missing)}, not in {directory}: download them again")
        return shards
    if (directory / SINGLE).is_file():
        return {SINGLE: []}
    raise FileNotFoundError(f"{directory} holds neither {SINGLE} nor {INDEX}")


def _canonical(name: str) -> str:
    for pattern, replacement in _ALIASES:
        if pattern.match(name):
            return pattern.sub(replacement, name)
    return name


def _read_tensors(directory: Path) -> Iterator[tuple[str, np.ndarray]]:
    for file, names in _shards(directory).items():
        try:
            with safe_open(directory / file, framework="np") as tensors:
                for name in names or tensors.keys():
                    yield _canonical(name), tensors.get_tensor(name)
        except SafetensorError as error:
            raise ValueError(f"{directory / file}: damaged safetensors file ({error}); download it again") from error


def load_params(directory: str | Path, config: Qwen2VLConfig | None = None, dtype=np.float32) -> dict:
    """Numpy parameters of a HuggingFace directory (one file or shards with an index), cast to `dtype`.

    Raises ValueError that lists all missing, unexpected and misshaped tensors at once.
    """
    directory = Path(directory)
    config = config or read_config(directory)
    ours = leaf_paths(abstract_params(config))
    wanted: dict[str, tuple[str, int | None]] = {}
    for path, leaf in ours.items():
        name, stacked = published_name(path)
        for layer in range(leaf.shape[0]) if stacked else [None]:
            wanted[name.format(layer)] = (path, layer)
    arrays = {path: np.empty(leaf.shape, dtype) for path, leaf in ours.items()}
    seen, problems = set(), []
    for name, tensor in _read_tensors(directory):
        if name not in wanted:
            # A tied head is often stored a second time; inverse frequencies are constants.
            if not (name == "lm_head.weight" and config.tie_word_embeddings) and "inv_freq" not in name:
                problems.append(f"unexpected {name} {list(tensor.shape)}")
            continue
        path, layer = wanted[name]
        seen.add(name)
        shape = ours[path].shape if layer is None else ours[path].shape[1:]
        expected = _published_shape(path, shape, config)
        if tensor.shape != expected:
            problems.append(f"misshaped {name}: file has {list(tensor.shape)}, config.json says {list(expected)}")
            continue
        value = _to_ours(path, tensor)
        if layer is None:
            arrays[path][...] = value
        else:
            arrays[path][layer] = value
    problems += [f"missing {name}" for name in wanted if name not in seen]
    if problems:
        raise ValueError(f"{directory}: {len(problems)} tensors do not fit:\n  " + "\n  ".join(sorted(problems)))
    return from_paths(arrays)


def _published_tensors(config: Qwen2VLConfig, params: dict, dtype) -> Iterator[tuple[str, np.ndarray]]:
    for path, leaf in leaf_paths(params).items():
        name, stacked = published_name(path)
        host = np.asarray(leaf).astype(dtype)
        for layer in range(host.shape[0]) if stacked else [None]:
            x = host if layer is None else host[layer]
            x = x.T if path.endswith("kernel") else x
            shape = _published_shape(path, host.shape if layer is None else host.shape[1:], config)
            yield name.format(layer), np.ascontiguousarray(x).reshape(shape)


def save_params(
    directory: str | Path, config: Qwen2VLConfig, params: dict, dtype: str = "bfloat16", shard_bytes: int = 4 * 2**30
) -> None:
    """Writes config.json and safetensors in the published layout; more than `shard_bytes` makes shards with an index.

    dtype: "bfloat16" or "float32", the dtype stored. Tokenizer and processor files are not written here.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    np_dtype = {"bfloat16": ml_dtypes.bfloat16, "float32": np.float32}[dtype]
    shards: list[dict[str, np.ndarray]] = [{}]
    size = 0
    for name, tensor in _published_tensors(config, params, np_dtype):
        if shards[-1] and size + tensor.nbytes > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    for stale in [*directory.glob("model*.safetensors"), *directory.glob(INDEX)]:
        stale.unlink()
    files = (
        [SINGLE]
        if len(shards) == 1
        else [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    )
    for file, tensors in zip(files, shards, strict=True):
        save_file(tensors, directory / file, metadata={"format": "pt"})
    if len(shards) > 1:
        weight_map = {name: file for file, tensors in zip(files, shards, strict=True) for name in tensors}
        total = sum(t.nbytes for tensors in shards for t in tensors.values())
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (directory / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
    (directory / "config.json").write_text(json.dumps(config_to_dict(config, dtype), indent=2) + "\n")
