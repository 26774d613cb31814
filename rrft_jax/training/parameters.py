"""Splitting a parameter tree into what is trained and what is frozen."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.config.groups import read
from rrft_jax.models import adapter as peft
from rrft_jax.models.lora import init_adapter, is_trained
from rrft_jax.models.paths import from_paths, leaf_paths
from rrft_jax.models.protocol import Model, Sizes
from rrft_jax.models.quantized import SCHEMES, dtype_of
from rrft_jax.models.registry import family_of, read_config
from rrft_jax.models.sharding import ParamAxes, tree_shardings
from rrft_jax.models.weights import abstract_params, load_sharded
from rrft_jax.pretrained import adapter_of, resolve_init


def partition(params: dict, freeze: Sequence[str]) -> tuple[dict, dict]:
    """(trainable, frozen): leaves whose '/'-joined path matches one of the regular expressions are frozen.

    Raises ValueError for a pattern that matches nothing, and when nothing is left to train.
    """
    leaves = leaf_paths(params)
    for pattern in freeze:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"config.train.freeze: {pattern!r} is not a regular expression ({error})") from error
    frozen = {path for path in leaves for pattern in freeze if re.search(pattern, path)}
    for pattern in freeze:
        if not any(re.search(pattern, path) for path in leaves):
            raise ValueError(
                f"config.train.freeze: {pattern!r} matches no parameter; paths look like {next(iter(leaves))}"
            )
    if len(frozen) == len(leaves):
        raise ValueError(f"config.train.freeze: {list(freeze)} freezes every parameter, nothing is left to train")
    return (
        from_paths({p: x for p, x in leaves.items() if p not in frozen}),
        from_paths({p: x for p, x in leaves.items() if p in frozen}),
    )


def combine(trainable: dict, frozen: dict) -> dict:
    """The whole tree again."""
    return from_paths({**leaf_paths(trainable), **leaf_paths(frozen)})


def parameter_count(tree: dict) -> int:
    """How many numbers the leaves hold; shapes alone will do."""
    return sum(leaf.size for leaf in leaf_paths(tree).values())


@dataclass(frozen=True)
class Weights:
    """Parameters on the mesh. trainable: in config.model.trained_dtype, adapters float32; frozen: in
    config.model.frozen_dtype, see `models/quantized.py`.

    reference: the policy at the start, or config.reference with arrays of its own; None where the loss does not look at
    it. That at the start shares the arrays of `frozen`: with LoRA it is the base without the adapter's leaves and costs
    nothing.
    """

    trainable: dict
    frozen: dict
    reference: dict | None


def load_weights(config: ConfigDict, model: Model, mesh: Mesh, keep_reference: bool) -> Weights:
    """Reads config.init into sharded arrays, splits it into what is trained and what is not, and adds the adapter.

    keep_reference: whether the loss looks at the policy of the start.
    """
    base = resolve_init(config.init)
    shapes = leaf_paths(abstract_params(model.config))
    trained = trained_paths(config, shapes)
    merged = adapter_of(config.init, base, model.config)
    leaves = leaf_paths(load_sharded(base, model.config, mesh, loaded_dtypes(config, shapes), merged))
    trainable = {path: leaves[path] for path in trained}
    frozen = {path: leaf for path, leaf in leaves.items() if path not in trained}
    reference = None
    if keep_reference and config.reference:
        reference = _fixed_reference(config, model, mesh, shapes)
    elif keep_reference:
        # The step consumes what is trained, so the reference needs its own copy of that, and only of that.
        reference = from_paths(frozen | (_copies(trainable, jnp.dtype(config.model.frozen_dtype)) if trained else {}))
    if config.lora.rank:
        new = from_paths(start_adapter(config, shapes, model.config, base))
        adapter = leaf_paths(place(new, mesh, family_of(model.config).param_axes))
        trainable = {path: leaf for path, leaf in adapter.items() if is_trained(path)}
        frozen |= {path: leaf for path, leaf in adapter.items() if not is_trained(path)}
    return Weights(from_paths(trainable), from_paths(frozen), reference)


def _fixed_reference(config: ConfigDict, model: Model, mesh: Mesh, shapes: Mapping[str, Any]) -> dict:
    """The parameters of config.reference, whole and in the dtype of what is frozen; sizes must be those of init."""
    base = resolve_init(config.reference, "config.reference")
    if (sizes := read_config(base)) != model.config:
        raise ValueError(
            f"config.reference={config.reference} is another model than config.init={config.init}: "
            f"{sizes.hidden_size} wide with {sizes.num_layers} layers, and {model.config.hidden_size} with "
            f"{model.config.num_layers}"
        )
    dtypes = {path: dtype_of(path, config.model.frozen_dtype) for path in shapes}
    return load_sharded(base, model.config, mesh, dtypes, adapter_of(config.reference, base, model.config))


def trained_paths(config: ConfigDict, shapes: Mapping[str, Any]) -> set[str]:
    """Which of the model's own parameters are trained: with LoRA none, else those that config.train.freeze leaves."""
    return set() if config.lora.rank else set(leaf_paths(partition(from_paths(dict(shapes)), config.train.freeze)[0]))


def loaded_dtypes(config: ConfigDict, shapes: Mapping[str, Any]) -> dict[str, Any]:
    """The dtype in which each of the model's own parameters, by path, is read: config.model.trained_dtype where it is
    trained; of frozen kernels it may be a scheme of `quantized.SCHEMES`."""
    trained, kept = trained_paths(config, shapes), config.model
    own = jnp.dtype(kept.trained_dtype)
    return {path: own if path in trained else dtype_of(path, kept.frozen_dtype) for path in shapes}


def _copies(leaves: dict[str, jax.Array], dtype: jnp.dtype) -> dict[str, jax.Array]:
    """The same values in buffers of their own, sharded alike."""
    copy = jax.jit(
        lambda tree: jax.tree.map(lambda x: jnp.copy(x).astype(dtype), tree),
        out_shardings=jax.tree.map(lambda x: x.sharding, leaves),
    )
    return copy(leaves)


def check_trained(config: ConfigDict) -> None:
    """ValueError where the fields that say what is trained, and in which dtype the rest is kept, do not fit."""
    frozen = config.model.frozen_dtype
    if frozen not in ("float32", "bfloat16", *SCHEMES):
        raise ValueError(f"config.model.frozen_dtype={frozen!r}: choose float32, bfloat16, {' or '.join(SCHEMES)}")
    kept = config.model.trained_dtype
    if kept not in ("float32", "bfloat16"):
        raise ValueError(f"config.model.trained_dtype={kept!r}: choose float32 or bfloat16")
    if kept != "float32" and config.lora.rank:
        raise ValueError(
            f"config.model.trained_dtype={kept} is for the model's own parameters: adapters (config.lora.rank) are "
            "float32, they are small"
        )
    if frozen in SCHEMES and config.lora.rank == 0:
        raise ValueError(
            f"config.model.frozen_dtype={frozen} is for a base that is not trained: give config.lora.rank, or "
            "frozen_dtype=bfloat16"
        )
    if config.lora.rank and config.train.freeze:
        raise ValueError(
            f"config.train.freeze={list(config.train.freeze)}: with config.lora.rank only the adapter is trained; "
            "choose its layers by config.lora.parts and config.lora.targets"
        )


def start_adapter(config: ConfigDict, shapes: dict, sizes: Sizes, base: Path) -> dict[str, np.ndarray]:
    """Leaves of a new adapter, or of config.lora.adapter. ValueError where that is not what config.lora describes."""
    settings = config.lora
    if peft.is_adapter_directory(config.init):
        raise ValueError(
            f"init={config.init} is an adapter, and config.lora.rank asks for one: to continue training it give "
            f"--config.lora.adapter={config.init} and init=<its base>; a new one starts from a merged model"
        )
    new = init_adapter(shapes, read(config, "lora").settings(), config.seed)
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
            named = lambda x: f"rank {x[0]}, alpha {x[0] * x[1]:g}" if x else "no adapter"  # noqa: E731
            raise ValueError(
                f"config.lora.adapter={settings.adapter} has {named(theirs.get(module))} at {module}, config.lora has "
                f"{named(ours.get(module))}: make rank, alpha, targets and parts those of the adapter"
            )
    return {path: found[path] for path in new}


def place(tree: dict, mesh: Mesh, axes: ParamAxes) -> dict:
    """Host arrays (numpy), sharded over the mesh as `axes` say of parameters; always fresh buffers.

    Every process gives the whole tree and keeps what its own devices hold.
    """

    def one(x: Any, sharding: Any) -> jax.Array:
        host = np.asarray(x)
        # A copy, since on a CPU device the array may lie in the buffer that it was made from.
        return jax.make_array_from_callback(host.shape, sharding, lambda index: np.array(host[index]))

    return jax.tree.map(one, tree, tree_shardings(tree, mesh, axes))
