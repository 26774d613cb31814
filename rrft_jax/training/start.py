"""The start of a run: what `init` means, and the parameters on the mesh; its end: the exported directories."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.models.lora import LoRA, init_adapter, is_trained
from rrft_jax.models.qwen2_vl import adapter as peft
from rrft_jax.models.qwen2_vl.attention import choose
from rrft_jax.models.qwen2_vl.config import Qwen2VLConfig, read_config, read_config_file
from rrft_jax.models.qwen2_vl.model import Qwen2VL
from rrft_jax.models.qwen2_vl.sharding import tree_shardings
from rrft_jax.models.qwen2_vl.weights import (
    abstract_params,
    check_tensors,
    from_paths,
    leaf_paths,
    load_params,
    load_sharded,
    save_params,
)
from rrft_jax.parallel.processes import is_writer
from rrft_jax.processing.processor import Processor, load_processor, save_processor
from rrft_jax.training.step import State, init_state
from rrft_jax.training.tree import partition
from rrft_jax.training.workdir import DONE

ASSETS = Path(__file__).parent.parent / "assets"
SIZES = ("2b", "7b")  # whose config.json the package has, without weights
EXPORT = "hf"  # the HuggingFace directory a finished run leaves in its workdir
ADAPTER = "adapter"  # and the PEFT adapter, where one was trained


@dataclass(frozen=True)
class Weights:
    """Parameters on the mesh. trainable: float32; frozen: in config.model.frozen_dtype.

    reference: the policy at the start, None where the loss does not look at it. It shares the arrays of `frozen`:
    with LoRA it is the base without the adapter's leaves and costs nothing.
    """

    trainable: dict
    frozen: dict
    reference: dict | None


def resolve_init(init: str, name: str = "init") -> Path:
    """The HuggingFace directory behind 'nano', a directory, a finished run's workdir, or a LoRA adapter (its base).

    Raises ValueError that says what was found instead; `name` is what the user knows the argument by.
    """
    if init == "nano":
        return ASSETS / "nano"
    if init in SIZES:
        raise ValueError(
            f"{name}={init} is a size without weights: give {name}=<HuggingFace directory of Qwen2-VL-{init.upper()}>; "
            "without it launch/compile.py and launch/train.py --dry-run work"
        )
    path = Path(init).expanduser()
    if (path / "versions.json").is_file():
        if not (path / DONE).exists():  # its export may be half written
            raise ValueError(
                f"{name}={init} is the workdir of an unfinished run: finish it first (same command, --workdir)"
            )
        return path / EXPORT
    if peft.is_adapter(path):
        return _base_of(path, name)
    if (path / peft.WEIGHTS).is_file() and not (path / "config.json").is_file():
        raise ValueError(
            f"{name}={init} holds {peft.WEIGHTS}, but {path / peft.CONFIG} is missing: copy it there as well, a LoRA "
            "adapter is both"
        )
    if not (path / "config.json").is_file():
        raise ValueError(
            f"{name}={init!r}: neither 'nano', a HuggingFace directory (config.json), a finished workdir, nor a LoRA "
            f"adapter ({peft.CONFIG})"
        )
    return path


def _base_of(adapter: Path, name: str) -> Path:
    base = peft.named_base(adapter)
    if not base or not (Path(base) / "config.json").is_file():
        raise ValueError(
            f"{name}={adapter} is a LoRA adapter of {base!r}, which is no model directory here: write the directory of "
            f"its base into base_model_name_or_path of {adapter / peft.CONFIG}"
        )
    return Path(base)


def adapter_of(init: str, base: Path, sizes: Qwen2VLConfig) -> dict[str, np.ndarray] | None:
    """Leaves of the adapter that `init` is, to be merged into its base; None where it is a model itself."""
    return peft.read_adapter(init, sizes, base) if peft.is_adapter(init) else None


def read_sizes(init: str, file: str | None = None) -> Qwen2VLConfig:
    """The sizes in a config.json alone: `file`, else that of `init`, which may be a size without weights (2b, 7b)."""
    path = Path(file) if file else ASSETS / "sizes" / f"{init}.json" if init in SIZES else None
    return read_config(resolve_init(init)) if path is None else read_config_file(path)


def load_model(config: ConfigDict) -> tuple[Qwen2VL, Processor, dict]:
    """Model, processor and float32 numpy parameters of config.init."""
    model, processor = load_init(config)
    directory = resolve_init(config.init)
    return (
        model,
        processor,
        load_params(directory, model.config, adapter=adapter_of(config.init, directory, model.config)),
    )


def load_init(config: ConfigDict) -> tuple[Qwen2VL, Processor]:
    """Model and processor of config.init. Its weights, and an adapter's, are looked at but not read: a missing file is
    to be known at once."""
    limits = config.processor.min_pixels or None, config.processor.max_pixels or None
    directory = resolve_init(config.init)
    model, processor = load_parts(
        directory, config.model.dtype, config.model.remat, *limits, attention=config.model.attention
    )
    check_tensors(directory, model.config)
    for adapter in (config.init if peft.is_adapter(config.init) else "", config.lora.adapter):
        if adapter:
            peft.check_files(adapter)
    return model, processor


def load_weights(config: ConfigDict, model: Qwen2VL, mesh: Mesh) -> Weights:
    """Reads config.init into sharded arrays, splits it into what is trained and what is not, and adds the adapter."""
    base = resolve_init(config.init)
    shapes = leaf_paths(abstract_params(model.config))
    trained, frozen_dtype = trained_paths(config, shapes), jnp.dtype(config.model.frozen_dtype)
    merged = adapter_of(config.init, base, model.config)
    leaves = leaf_paths(load_sharded(base, model.config, mesh, loaded_dtypes(config, shapes), merged))
    trainable = {path: leaves[path] for path in trained}
    frozen = {path: leaf for path, leaf in leaves.items() if path not in trained}
    reference = None
    if config.algorithm == "grpo" and config.loss.beta:
        # The step consumes what is trained, so the reference needs its own copy of that, and only of that.
        reference = from_paths(frozen | _copies(trainable, frozen_dtype))
    if config.lora.rank:
        adapter = leaf_paths(place(from_paths(start_adapter(config, shapes, model.config, base)), mesh))
        trainable = {path: leaf for path, leaf in adapter.items() if is_trained(path)}
        frozen |= {path: leaf for path, leaf in adapter.items() if not is_trained(path)}
    return Weights(from_paths(trainable), from_paths(frozen), reference)


def trained_paths(config: ConfigDict, shapes: Mapping[str, Any]) -> set[str]:
    """Which of the model's own parameters are trained: with LoRA none, else those that config.train.freeze leaves."""
    return set() if config.lora.rank else set(leaf_paths(partition(from_paths(dict(shapes)), config.train.freeze)[0]))


def loaded_dtypes(config: ConfigDict, shapes: Mapping[str, Any]) -> dict[str, jnp.dtype]:
    """The dtype in which each of the model's own parameters, by path, is read: float32 where it is trained."""
    trained = trained_paths(config, shapes)
    return {path: jnp.dtype("float32" if path in trained else config.model.frozen_dtype) for path in shapes}


def load_for_inference(
    directory: Path, sizes: Qwen2VLConfig, mesh: Mesh, dtype: jnp.dtype, adapter: dict | None = None
) -> dict:
    """All parameters on the mesh in one dtype, an adapter's leaves (`adapter_of`) merged."""
    return load_sharded(directory, sizes, mesh, dict.fromkeys(leaf_paths(abstract_params(sizes)), dtype), adapter)


def _copies(leaves: dict[str, jax.Array], dtype: jnp.dtype) -> dict[str, jax.Array]:
    """The same values in buffers of their own, sharded alike."""
    copy = jax.jit(
        lambda tree: jax.tree.map(lambda x: jnp.copy(x).astype(dtype), tree),
        out_shardings=jax.tree.map(lambda x: x.sharding, leaves),
    )
    return copy(leaves)


def check_trained(config: ConfigDict) -> None:
    """ValueError where the fields that say what is trained, and in which dtype the rest is kept, do not fit."""
    if config.model.frozen_dtype not in ("float32", "bfloat16"):
        raise ValueError(f"config.model.frozen_dtype={config.model.frozen_dtype!r}: choose float32 or bfloat16")
    if config.lora.rank == 0:
        if config.lora.adapter:
            raise ValueError(
                f"config.lora.adapter={config.lora.adapter} is an adapter to go on training: give config.lora.rank "
                "too, or init=<the adapter> to train from the merged weights"
            )
        return
    lora_settings(config)
    if config.train.freeze:
        raise ValueError(
            f"config.train.freeze={list(config.train.freeze)}: with config.lora.rank only the adapter is trained; "
            "choose its layers by config.lora.parts and config.lora.targets"
        )


def lora_settings(config: ConfigDict) -> LoRA:
    return LoRA(config.lora.rank, config.lora.alpha, tuple(config.lora.targets), tuple(config.lora.parts))


def start_adapter(config: ConfigDict, shapes: dict, sizes: Qwen2VLConfig, base: Path) -> dict[str, np.ndarray]:
    """Leaves of a new adapter, or of config.lora.adapter. ValueError where that is not what config.lora describes."""
    settings = config.lora
    if peft.is_adapter(config.init):
        raise ValueError(
            f"init={config.init} is an adapter, and config.lora.rank asks for one: to go on training it give "
            f"--config.lora.adapter={config.init} and init=<its base>; a new one starts from a merged model"
        )
    new = init_adapter(shapes, lora_settings(config), config.seed)
    if not settings.adapter:
        return new
    found = peft.read_adapter(settings.adapter, sizes, base)
    describe = lambda leaves: {  # noqa: E731
        path.removesuffix("/lora_a"): (a.shape[-1], float(leaves[path.replace("lora_a", "lora_scale")].flat[0]))
        for path, a in leaves.items()
        if path.endswith("/lora_a")
    }
    ours, theirs = describe(new), describe(found)
    for module in sorted(ours.keys() | theirs.keys()):
        if ours.get(module) != theirs.get(module):
            say = lambda x: f"rank {x[0]}, alpha {x[0] * x[1]:g}" if x else "no adapter"  # noqa: E731
            raise ValueError(
                f"config.lora.adapter={settings.adapter} has {say(theirs.get(module))} at {module}, config.lora has "
                f"{say(ours.get(module))}: make rank, alpha, targets and parts those of the adapter"
            )
    return {path: found[path] for path in new}


def make_state(trainable: dict, optimizer: optax.GradientTransformation, mesh: Mesh) -> State:
    """The train state, sharded over the mesh from its first moment on; consumes `trainable`."""
    build = partial(init_state, optimizer=optimizer)
    shardings = tree_shardings(jax.eval_shape(build, trainable), mesh)
    return jax.jit(build, out_shardings=shardings, donate_argnums=0)(trainable)


def load_parts(
    directory: Path,
    dtype: str,
    remat: str = "none",
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    attention: str = "auto",
) -> tuple[Qwen2VL, Processor]:
    """Model and processor of a HuggingFace directory, without its weights; None for the directory's own pixel limits.

    attention: as config.model.attention, for this process's devices. Raises ValueError where it cannot run, and where
    the tokenizer knows more tokens than the model has rows.
    """
    sizes = read_config(directory)
    model = Qwen2VL(sizes, dtype, remat, choose(attention, jax.default_backend(), dtype))
    processor = load_processor(directory, min_pixels, max_pixels)
    if processor.vocab_tokens > sizes.vocab_size:
        raise ValueError(
            f"{directory}: the tokenizer knows {processor.vocab_tokens} tokens, config.json has {sizes.vocab_size} rows"
        )
    return model, processor


def place(tree: dict, mesh: Mesh) -> dict:
    """Host arrays (numpy), sharded over the mesh as the parameter table says; always fresh buffers.

    Every process gives the whole tree and keeps what its own devices hold.
    """

    def one(x, sharding):
        host = np.asarray(x)
        # A copy, since on a CPU device the array may lie in the buffer that it was made from.
        return jax.make_array_from_callback(host.shape, sharding, lambda index: np.array(host[index]))

    return jax.tree.map(one, tree, tree_shardings(tree, mesh))


def export(directory: Path, model: Qwen2VL, params: dict, processor: Processor, dtype: str) -> None:
    """Writes the HuggingFace directory of the result: weights (adapters merged), config, tokenizer, processor. Every
    process calls it with its part of the parameters, process 0 writes."""
    save_params(directory, model.config, params, dtype)
    if is_writer():
        save_processor(processor, directory)


def export_adapter(directory: Path, params: dict, init: str) -> None:
    """Writes the trained adapter in PEFT's format, with the directory of its base; as `export`."""
    peft.save_adapter(directory, params, resolve_init(init))
