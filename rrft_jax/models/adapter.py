"""LoRA adapters in PEFT's format: adapter_config.json and adapter_model.safetensors, written and read back."""

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rrft_jax.fields import flag, text
from rrft_jax.files import read_json_object, shown
from rrft_jax.models import lora
from rrft_jax.models.files import StoredTensor, open_tensors, read_metadata, values_digest, write_tensors
from rrft_jax.models.names import TensorNames
from rrft_jax.models.paths import leaf_paths
from rrft_jax.models.protocol import Sizes
from rrft_jax.models.registry import read_config
from rrft_jax.models.weights import abstract_params, tensor_names
from rrft_jax.parallel.processes import gather_to_writer, is_writer

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_log = logging.getLogger(__name__)
BASE = "base_fingerprint"  # in the metadata of the weights, which PEFT does not read

# What changes the meaning of A and B, or is added to them; a value that is true or not empty is refused.
_UNSUPPORTED = (
    "use_dora", "lora_bias", "fan_in_fan_out", "modules_to_save", "rank_pattern", "alpha_pattern", "layer_replication",
    "trainable_token_indices", "target_parameters", "use_qalora", "alora_invocation_tokens", "layers_to_transform",
)  # fmt: skip
# Modules of the base that PEFT can adapt and this code does not.
_ELSEWHERE = {
    "language/embed": "the token embeddings", "language/lm_head": "the head", lora.EXCLUDED: "the patch convolution",
    "vision/positions": "the learned positions",
}  # fmt: skip
_PLAIN = (None, True, False, "gaussian", "eva", "orthogonal")  # of init_lora_weights: they begin at the base


def is_adapter_directory(directory: str | Path) -> bool:
    return (Path(directory).expanduser() / CONFIG).is_file()


def named_base(directory: str | Path) -> str:
    """The base that an adapter's adapter_config.json names: a directory, or a name on a hub; '' where it names none."""
    return _read_config(Path(directory).expanduser())["base_model_name_or_path"] or ""


def weights_file(directory: str | Path) -> Path:
    """The file of an adapter's tensors. FileNotFoundError where the folder has none."""
    path = Path(directory).expanduser() / WEIGHTS
    if not path.is_file():
        older = path.with_name("adapter_model.bin")
        remedy = f"save it with PEFT again, {older.name} is not read" if older.is_file() else "copy it there as well"
        raise FileNotFoundError(f"{path} not found: a LoRA adapter is {CONFIG} and {WEIGHTS} in one folder; {remedy}")
    return path


def files_digest(directory: str | Path) -> str:
    """A digest of both files of an adapter, whole, since they are small."""
    digest = hashlib.sha256((Path(directory).expanduser() / CONFIG).read_bytes())
    digest.update(weights_file(directory).read_bytes())
    return digest.hexdigest()[:32]


def check_files(directory: str | Path) -> None:
    """Opens both files of an adapter and reads no values, so a run can do it before anything that takes long.

    Raises FileNotFoundError or ValueError in one line, naming the file and the remedy.
    """
    directory = Path(directory).expanduser()
    _read_config(directory)
    weights_file(directory)
    open_tensors(directory, single=WEIGHTS)


def save_adapter(directory: str | Path, params: Mapping, base: Path) -> None:
    """Writes the adapter leaves of `params` in float32, and which base directory they belong to. Every process calls it
    with its part, process 0 writes."""
    leaves = {path: gather_to_writer(leaf) for path, leaf in leaf_paths(params).items() if lora.is_adapter(path)}
    if not is_writer():
        return
    leaves = {path: np.asarray(leaf, np.float32) for path, leaf in leaves.items()}
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    names = tensor_names(read_config(base))
    modules = [path.removesuffix("/lora_a") for path in leaves if path.endswith("/lora_a")]
    tensors, targets = {}, []
    for module in modules:
        name, stacked = _published_module(names, module)
        targets += _targets(name, leaves[f"{module}/lora_a"].shape[0], module.startswith("language/"))
        for ours, theirs in (("lora_a", "lora_A"), ("lora_b", "lora_B")):
            x = leaves[f"{module}/{ours}"]
            for layer in range(x.shape[0]) if stacked else [None]:
                key = f"base_model.model.{names.in_transformers(name.format(layer))}.{theirs}.weight"
                tensors[key] = np.ascontiguousarray((x if layer is None else x[layer]).T)
    rank = leaves[f"{modules[0]}/lora_a"].shape[-1]
    alpha = float(leaves[f"{modules[0]}/lora_scale"].flat[0]) * rank
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base.absolute()),
        "r": rank,
        "lora_alpha": round(alpha) if math.isclose(alpha, round(alpha), rel_tol=1e-6) else alpha,
        "target_modules": targets,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "modules_to_save": None,
        "inference_mode": True,
    }
    # One entry alone: safetensors writes several in an order of its own, and equal runs would leave unequal files.
    write_tensors(tensors, directory / WEIGHTS, {BASE: values_digest(base, names)})
    (directory / CONFIG).write_text(json.dumps(settings, indent=2) + "\n")


def read_adapter(directory: str | Path, config: Sizes, base: Path) -> dict[str, np.ndarray]:
    """Adapter leaves by path, for the model in `base` of these sizes.

    Raises ValueError in one line: a damaged file, a kind of LoRA that this code does not compute, another base.
    """
    directory = Path(directory).expanduser()
    settings = _read_config(directory)
    weights_file(directory)
    rank = settings["r"]
    scale = settings["lora_alpha"] / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    names = tensor_names(config)
    stored = _stored(directory, names)
    shapes = leaf_paths(abstract_params(config))
    leaves: dict[str, np.ndarray] = {}
    missing: list[str] = []
    misshaped: list[str] = []
    some: dict[str, list[int]] = {}  # module -> layers that have an adapter, where others have none
    for path in (p for p in shapes if p.endswith("/kernel") and p != f"{lora.EXCLUDED}/kernel"):
        module = path.removesuffix("/kernel")
        name, stacked = _published_module(names, module)
        *stack, width, out = shapes[path].shape
        layers = [name.format(i) for i in range(stack[0])] if stacked else [name]
        adapted = [i for i, n in enumerate(layers) if any((n, half) in stored for half in lora.TRAINED)]
        if not adapted:
            continue
        if len(adapted) < len(layers):
            some[name.format("*")] = adapted
        for half, shape in (("lora_a", (rank, width)), ("lora_b", (out, rank))):
            found = [stored.pop((n, half), None) for n in layers]
            pairs = list(zip(layers, found, strict=True))
            lost = [f"{n}.{half} is missing, {list(shape)} wanted" for n, t in pairs if t is None]
            wrong = [f"{n}.{half} is {list(t.shape)}, {list(shape)} wanted" for n, t in pairs if t and t.shape != shape]
            missing, misshaped = missing + lost, misshaped + wrong
            if not lost and not wrong:
                x = np.stack([t.read().astype(np.float32).T for t in found if t is not None])
                leaves[f"{module}/{half}"] = x if stacked else x[0]
        leaves[f"{module}/lora_scale"] = np.full(tuple(stack), scale, np.float32)
    if not misshaped:
        left = {name for name, _ in stored}
        parts = [what for module, what in _ELSEWHERE.items() if names.modules.get(module) in left]
        _refuse_other_parts(directory / WEIGHTS, parts, some)
    foreign = [f"{name}.{half} belongs to no linear layer of the base" for name, half in sorted(stored)]
    problems = misshaped + missing + foreign
    named = f"its {CONFIG} names {settings['base_model_name_or_path']!r}"
    if problems:
        few = some and not misshaped and not foreign
        raise ValueError(
            f"{directory / WEIGHTS}: an adapter of another base than {base} ({named})"
            f"{', or of its first layers alone' if few else ''}: {len(problems)} tensors do not fit, first "
            f"{problems[0]}; give its own base as init{', or merge it with PEFT' if few else ''}"
        )
    known = read_metadata(directory / WEIGHTS).get(BASE)
    if known and known != values_digest(base, names):
        raise ValueError(
            f"{directory / WEIGHTS}: an adapter of another base than {base} ({named}): the sizes fit, the weights are "
            "others; give its own base as init"
        )
    elsewhere = settings["base_model_name_or_path"]
    if not known and elsewhere and base.resolve().name not in (Path(elsewhere).name, Path(elsewhere).resolve().name):
        _log.warning(
            "%s: %s, and it is applied to %s. The sizes fit, but nothing in the adapter says whether this is its base: "
            "make sure that it is", directory, named, base,
        )  # fmt: skip
    return leaves


def _stored(directory: Path, names: TensorNames) -> dict[tuple[str, str], StoredTensor]:
    """(published module, half) -> tensor."""
    stored: dict[tuple[str, str], StoredTensor] = {}
    for name, tensor in open_tensors(directory, single=WEIGHTS).items():
        if (other := stored.setdefault(_module_of(names, name), tensor)) is not tensor:
            raise ValueError(
                f"{tensor.file} holds {other.name} and {name}: two names of one tensor, and which is meant would be a "
                "guess; remove one"
            )
    return stored


def _targets(name: str, layers: int, language: bool) -> list[str]:
    """What target_modules says for a published module: PEFT takes every layer whose name ends in one of these, and
    `proj` alone would catch the patch convolution, `linear_fc1` the MLP of every block."""
    tail = name.rpartition("visual.")[2]
    inner = tail.split("{}.")[-1]
    if language:
        return [inner.rsplit(".", 1)[-1]]
    return [inner] if "." in inner or inner == tail else [tail.format(layer) for layer in range(layers)]


def _refuse_other_parts(file: Path, parts: list[str], some: Mapping[str, list[int]]) -> None:
    """ValueError where an adapter is of this base, but also of modules without one here, or of fewer layers.

    parts: what these modules are. some: module -> its layers that have an adapter.
    """
    # The first n layers could as well be all layers of a smaller base.
    gaps = {name: layers for name, layers in some.items() if layers[-1] >= len(layers)}
    parts = parts + [f"layers {', '.join(map(str, layers))} of {name} alone" for name, layers in gaps.items()][:1]
    if parts:
        raise ValueError(
            f"{file}: LoRA on {' and '.join(parts)} is not computed here: merge the adapter with PEFT and give the "
            "merged directory"
        )


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found: give the folder that PEFT saved, with {CONFIG} and {WEIGHTS}")
    what, remedy = "the config of a LoRA adapter", "write it with PEFT again"
    settings = read_json_object(path, remedy, what)
    if missing := [name for name in ("peft_type", "r", "lora_alpha") if name not in settings]:
        raise ValueError(f"{path}: not {what} (it has no {', '.join(missing)}); {remedy}")
    kind, rank, alpha = settings["peft_type"], settings["r"], settings["lora_alpha"]
    if kind != "LORA" or type(rank) is not int or rank < 1 or type(alpha) not in (int, float) or not 0 < alpha < 1e30:
        raise ValueError(
            f"{path}: peft_type={shown(kind)}, r={shown(rank)}, lora_alpha={shown(alpha)}; a LoRA adapter is wanted"
        )
    flag(settings, path, "use_rslora", default=False)
    text(settings, path, "base_model_name_or_path", default=None)
    used = [name for name in _UNSUPPORTED if settings.get(name)]
    if settings.get("bias", "none") != "none":
        used.append("bias")
    if (begun := settings.get("init_lora_weights")) not in _PLAIN:  # PiSSA and its like took a part out of the base
        used.append(f"init_lora_weights={shown(begun)}")
    if used:
        raise ValueError(
            f"{path}: {', '.join(used)} is not supported; merge the adapter with PEFT and give the merged directory"
        )
    return {"base_model_name_or_path": None, **settings}


def _published_module(names: TensorNames, module: str) -> tuple[str, bool]:
    name, stacked = names.published(f"{module}/kernel")
    return name.removesuffix(".weight"), stacked


def _module_of(names: TensorNames, key: str) -> tuple[str, str]:
    """(published module, 'lora_a' or 'lora_b') of a tensor name that PEFT wrote; unknown names stay recognisable."""
    module, found, rest = key.removeprefix("base_model.model.").rpartition(".lora_")
    if not found:  # a whole module, which PEFT adds where it was trained or resized
        return names.canonical(rest.removesuffix(".weight").removesuffix(".base_layer")), "weight"
    return names.canonical(module) or key, {"A.weight": "lora_a", "B.weight": "lora_b"}.get(rest, rest)
