"""LoRA adapters in PEFT's format: adapter_config.json and adapter_model.safetensors, written and read back."""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rrft_jax.models import lora
from rrft_jax.models.files import fingerprint, open_tensors, read_metadata, write_tensors
from rrft_jax.models.names import TensorNames
from rrft_jax.models.paths import leaf_paths
from rrft_jax.models.protocol import Sizes
from rrft_jax.models.registry import read_config
from rrft_jax.models.weights import abstract_params, tensor_names
from rrft_jax.parallel.processes import is_writer, whole

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_log = logging.getLogger(__name__)
BASE = "base_fingerprint"  # in the metadata of the weights, which PEFT does not read

# What changes the meaning of A and B, or comes beside them; a value that is true or not empty is refused.
_UNSUPPORTED = (
    "use_dora", "lora_bias", "fan_in_fan_out", "modules_to_save", "rank_pattern", "alpha_pattern", "layer_replication",
    "trainable_token_indices", "target_parameters", "use_qalora", "alora_invocation_tokens", "layers_to_transform",
)  # fmt: skip
_PLAIN = (None, True, False, "gaussian", "eva", "orthogonal")  # of init_lora_weights: they begin at the base


def is_adapter(directory: str | Path) -> bool:
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
    leaves = {path: whole(leaf) for path, leaf in leaf_paths(params).items() if lora.is_adapter(path)}
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
        # PEFT takes a layer whose name ends in one of these; `proj` alone would catch the patch convolution too.
        tail = name.split("{}.")[-1].rpartition("visual.")[2]
        targets.append(tail.rsplit(".", 1)[-1] if module.startswith("language/") else tail)
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
    write_tensors(tensors, directory / WEIGHTS, {BASE: fingerprint(base, names)})
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
    stored = {_module_of(names, name): tensor for name, tensor in open_tensors(directory, single=WEIGHTS).items()}
    shapes = leaf_paths(abstract_params(config))
    leaves: dict[str, np.ndarray] = {}
    problems: list[str] = []
    for path in (p for p in shapes if p.endswith("/kernel") and p != f"{lora.EXCLUDED}/kernel"):
        module = path.removesuffix("/kernel")
        name, stacked = _published_module(names, module)
        *stack, width, out = shapes[path].shape
        layers = [name.format(i) for i in range(stack[0])] if stacked else [name]
        if not any((n, half) in stored for n in layers for half in lora.TRAINED):
            continue
        for half, shape in (("lora_a", (rank, width)), ("lora_b", (out, rank))):
            found = [stored.pop((n, half), None) for n in layers]
            wrong = [
                f"{n}.{half} is {'missing' if t is None else list(t.shape)}, {list(shape)} wanted"
                for n, t in zip(layers, found, strict=True)
                if t is None or t.shape != shape
            ]
            problems += wrong
            if not wrong:
                x = np.stack([t.read().astype(np.float32).T for t in found])
                leaves[f"{module}/{half}"] = x if stacked else x[0]
        leaves[f"{module}/lora_scale"] = np.full(tuple(stack), scale, np.float32)
    problems += [f"{name}.{half} belongs to no linear layer of the base" for name, half in sorted(stored)]
    named = f"its {CONFIG} names {settings['base_model_name_or_path']!r}"
    if problems:
        raise ValueError(
            f"{directory / WEIGHTS}: an adapter of another base than {base} ({named}): {len(problems)} tensors do not "
            f"fit, first {problems[0]}; give its own base as init"
        )
    known = read_metadata(directory / WEIGHTS).get(BASE)
    if known and known != fingerprint(base, names):
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


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / CONFIG
    try:
        settings = json.loads(path.read_text())
        kind, rank, alpha = settings["peft_type"], settings["r"], settings["lora_alpha"]
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} not found: give the folder that PEFT saved, with {CONFIG} and {WEIGHTS}"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not the config of a LoRA adapter ({error!r}); write it with PEFT again") from error
    if kind != "LORA" or not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
        raise ValueError(f"{path}: peft_type={kind!r}, r={rank!r}, lora_alpha={alpha!r}; a LoRA adapter is wanted")
    used = [name for name in _UNSUPPORTED if settings.get(name)]
    if settings.get("bias", "none") != "none":
        used.append("bias")
    if (begun := settings.get("init_lora_weights")) not in _PLAIN:  # PiSSA and its like took a part out of the base
        used.append(f"init_lora_weights={begun!r}")
    if used:
        raise ValueError(
            f"{path}: {', '.join(used)} is not supported; merge the adapter with PEFT and give the merged directory"
        )
    if not isinstance(base := settings.get("base_model_name_or_path"), str | None):
        raise ValueError(f"{path}: base_model_name_or_path is {base!r}, a directory is wanted; write it there")
    return {"base_model_name_or_path": None, **settings}


def _published_module(names: TensorNames, module: str) -> tuple[str, bool]:
    name, stacked = names.published(f"{module}/kernel")
    return name.removesuffix(".weight"), stacked


def _module_of(names: TensorNames, key: str) -> tuple[str, str]:
    """(published module, 'lora_a' or 'lora_b') of a tensor name that PEFT wrote; unknown names stay recognisable."""
    module, _, rest = key.removeprefix("base_model.model.").rpartition(".lora_")
    return names.canonical(module) or key, {"A.weight": "lora_a", "B.weight": "lora_b"}.get(rest, rest)
