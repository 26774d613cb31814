"""Safetensors files of a HuggingFace directory: opened without reading, read by slice, written one shard at a time."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from rrft_jax.files import read_json_object, shown
from rrft_jax.models.names import TensorNames, is_constant

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_OTHER_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
READ = ("BF16", "F16", "F32", "F64")  # as safetensors names them; integers and 8-bit floats are quantized weights


def write_tensors(tensors: Mapping[str, np.ndarray], file: Path, metadata: Mapping[str, str]) -> None:
    """One safetensors file, readable by all: the library gives it to its owner alone."""
    save_file(dict(tensors), file, metadata=dict(metadata))
    file.chmod(0o644)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file that is mapped, not read; `read` copies the slices asked for."""

    name: str  # as stored, which may be an alias of the published name
    file: Path
    shape: tuple[int, ...]
    view: Any

    def read(self, index: tuple[slice, ...] = ()) -> np.ndarray:
        """The values at `index`. Raises ValueError naming file and tensor where they are damaged."""
        try:
            values = self.view[index or (slice(None),) * len(self.shape)] if self.shape else self.view[...]
        except SafetensorError as error:
            raise _damaged(self.file, f"{self.name}: {error}") from error
        if not _finite(values):
            raise _damaged(self.file, f"{self.name} holds values that are not finite")
        if values.dtype == np.float64 and np.abs(values).max(initial=0) > np.finfo(np.float32).max:
            raise _damaged(self.file, f"{self.name} holds numbers that float32 makes infinite")
        return values


def open_tensors(directory: Path, names: TensorNames | None = None, single: str = SINGLE) -> dict[str, StoredTensor]:
    """Name -> tensor, of one file `single` or of shards with an index; reads the headers only.

    names: of the family, to which published names then belong; None for the names as they are stored.

    With both the single file is read, as transformers does. Raises FileNotFoundError or ValueError naming what is
    missing, damaged, quantized or there under two names, and what to do.
    """
    found: dict[str, StoredTensor] = {}
    for file, listed in _shards(directory, single).items():
        path = directory / file
        try:
            tensors = safe_open(path, framework="np")
            stored = set(tensors.keys())
            if lost := sorted(set(listed) - stored):
                raise ValueError(f"{directory / INDEX} says that {file} holds {', '.join(lost)}, but it does not: "
                                 "download both again")  # fmt: skip
            for name in sorted(listed or stored):
                view = tensors.get_slice(name)
                if (dtype := view.get_dtype()) not in READ:
                    raise ValueError(f"{path}: {name} is stored as {dtype}, and quantized weights are not read: give "
                                     "the directory of the model in bfloat16, float16 or float32")  # fmt: skip
                known_as = names.canonical(name) if names else name
                if (other := found.get(known_as)) is not None:
                    raise ValueError(f"{path} holds {name}, and {other.file.name} holds {other.name}: two names of one "
                                     "tensor, and which is meant would be a guess; remove one")  # fmt: skip
                found[known_as] = StoredTensor(name, path, tuple(view.get_shape()), view)
        except SafetensorError as error:
            raise _damaged(path, str(error)) from error
    return found


def same_values(a: StoredTensor, b: StoredTensor) -> bool:
    """Whether two tensors [rows, ...] are equal; reads some rows at a time, up to the first difference."""
    if a.shape != b.shape:
        return False
    rows, step, rest = a.shape[0], max(1, 2**22 // max(1, math.prod(a.shape[1:]))), (slice(None),) * (len(a.shape) - 1)
    parts = ((slice(i, min(i + step, rows)), *rest) for i in range(0, rows, step))
    return all(np.array_equal(a.read(part), b.read(part)) for part in parts)


def read_metadata(file: Path) -> dict[str, str]:
    """The strings that a safetensors file carries about itself."""
    try:
        return safe_open(file, framework="np").metadata() or {}
    except SafetensorError as error:
        raise _damaged(file, str(error)) from error


def values_digest(directory: Path, names: TensorNames) -> str:
    """A digest of the first values (up to 64) of every tensor: the same however the weights are cut into shards.

    It tells one base from another by reading a few kilobytes; it is no protection against tampering.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(open_tensors(directory, names).items()):
        if name == names.head or is_constant(name):  # a tied head may or may not be stored
            continue
        head = tensor.read((*(slice(0, 1),) * (len(tensor.shape) - 1), slice(0, min(64, tensor.shape[-1]))))
        digest.update(f"{name} {tensor.shape} ".encode() + head.astype(np.float32).tobytes())
    return digest.hexdigest()[:32]


def write_shards(
    directory: Path, sizes: Mapping[str, int], tensors: Iterable[tuple[str, np.ndarray]], shard_bytes: int
) -> None:
    """Writes tensors that come in the order of `sizes` (bytes each), with an index where one file would be too large.

    Tensors are asked for one shard at a time. A tensor larger than `shard_bytes` gets a file of its own.
    """
    plan: list[list[str]] = [[]]
    size = 0
    for name, count in sizes.items():
        if plan[-1] and size + count > shard_bytes:
            plan.append([])
            size = 0
        plan[-1].append(name)
        size += count
    for stale in [*directory.glob("model*.safetensors"), *directory.glob(INDEX)]:
        stale.unlink()
    many = len(plan) > 1
    files = [f"model-{i:05}-of-{len(plan):05}.safetensors" for i in range(1, len(plan) + 1)] if many else [SINGLE]
    source = iter(tensors)
    for file, names in zip(files, plan, strict=True):
        shard = dict(next(source) for _ in names)
        write_tensors({name: shard[name] for name in names}, directory / file, {"format": "pt"})
    if many:
        weight_map = {name: file for file, names in zip(files, plan, strict=True) for name in names}
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
        (directory / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def ignored_shards(directory: Path) -> list[str]:
    """Files of weights that an index names next to a single file, which is read instead of them."""
    return sorted(_index(directory).keys() - {SINGLE}) if (directory / SINGLE).is_file() else []


def _shards(directory: Path, single: str) -> dict[str, list[str]]:
    """File -> tensor names, none for all of them."""
    shards = _index(directory) if single == SINGLE else {}
    if (directory / single).is_file():
        return {single: []}
    if not shards:
        if (directory / single).is_symlink():
            raise FileNotFoundError(f"{directory / single} is a link to a file that is not there: download it again")
        others = sorted(path.name for path in directory.glob("*") if path.suffix in _OTHER_WEIGHTS)
        but = f", but {shown(', '.join(others))}: shards need their index, and other formats are to be saved as " \
              "safetensors" if others else ""  # fmt: skip
        raise FileNotFoundError(
            f"{directory} holds neither {single} nor {INDEX}{but}: give a HuggingFace directory with weights"
        )
    if missing := sorted(f for f in shards if not (directory / f).is_file()):
        raise FileNotFoundError(
            f"{directory / INDEX} names {', '.join(missing)}, not in {directory}: download them again"
        )
    return shards


def _index(directory: Path) -> dict[str, list[str]]:
    """File -> tensor names, as the directory's index says; {} where it has none."""
    index, shards = directory / INDEX, {}
    if not index.is_file():
        return {}
    homes = read_json_object(index, "download it again", "a safetensors index").get("weight_map")
    if not isinstance(homes, dict) or not homes:
        raise ValueError(f"{index}: not a safetensors index (weight_map is {shown(homes)}); download it again")
    for name, file in homes.items():
        if not isinstance(file, str):
            raise ValueError(f"{index}: the file of {name} is {shown(file)}, not a name; download it again")
        shards.setdefault(file, []).append(name)
    return shards


def _damaged(file: Path, what: str) -> ValueError:
    return ValueError(f"{file}: damaged safetensors file ({what}); download it again")


def _finite(x: np.ndarray) -> bool:
    if x.dtype == ml_dtypes.bfloat16:  # by its bits: isfinite of a bfloat16 is ten times slower
        return not x.size or int((x.view(np.uint16) & 0x7FFF).max()) < 0x7F80
    return bool(np.isfinite(x).all())
