"""The start of a run: what `init` means, and the parameters on the mesh; its end: the exported directories."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.models import adapter as peft
from rrft_jax.models.attention import choose
from rrft_jax.models.paths import leaf_paths
from rrft_jax.models.protocol import Model, Sizes
from rrft_jax.models.published_sizes import SIZES, size_file
from rrft_jax.models.registry import make_model, read_config_file
from rrft_jax.models.weights import abstract_params, check_tensors, load_params, load_sharded, save_params, sizes_of
from rrft_jax.parallel.processes import is_writer
from rrft_jax.processing.processor import Processor, load_processor, save_processor
from rrft_jax.run.workdir import DONE, EXPORT

ASSETS = Path(__file__).parent / "assets"


def resolve_init(init: str, name: str = "init") -> Path:
    """The HuggingFace directory behind 'nano', a directory, a finished run's workdir, or a LoRA adapter (its base).

    Raises ValueError that says what was found instead; `name` is what the user knows the argument by.
    """
    if init == "nano":
        return ASSETS / "nano"
    if init in SIZES:
        raise ValueError(
            f"{name}={init} is a size without weights: give {name}=<HuggingFace directory of {SIZES[init]}>; "
            "without it launch/compile.py and launch/train.py --dry-run work"
        )
    path = Path(init).expanduser()
    if (path / "versions.json").is_file():
        if not (path / DONE).exists():  # its export may be half written
            raise ValueError(
                f"{name}={init} is the workdir of an unfinished run: finish it first (same command, --workdir)"
            )
        return path / EXPORT
    if peft.is_adapter_directory(path):
        return _base_of(path, name)
    if (path / peft.WEIGHTS).is_file() and not (path / "config.json").is_file():
        raise ValueError(
            f"{name}={init} holds {peft.WEIGHTS}, but {path / peft.CONFIG} is missing: copy it there as well, a LoRA "
            "adapter is both"
        )
    if not (path / "config.json").is_file():
        raise ValueError(
            f"{name}={init!r}: neither 'nano', a HuggingFace directory (config.json), a finished workdir, nor a LoRA "
            f"adapter ({peft.CONFIG})" + ("" if path.exists() else "; it is not here, and nothing is downloaded")
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


def adapter_of(init: str, base: Path, sizes: Sizes) -> dict[str, np.ndarray] | None:
    """Leaves of the adapter that `init` is, to be merged into its base; None where it is a model itself."""
    return peft.read_adapter(init, sizes, base) if peft.is_adapter_directory(init) else None


def read_sizes(init: str, file: str | None = None) -> Sizes:
    """The sizes in a config.json alone: `file`, else that of `init`, which may be a size without weights, of SIZES."""
    path = Path(file) if file else size_file(init) if init in SIZES else None
    return sizes_of(resolve_init(init)) if path is None else read_config_file(path)


def load_model(config: ConfigDict) -> tuple[Model, Processor, dict]:
    """Model, processor and float32 numpy parameters of config.init."""
    model, processor = load_init(config)
    directory = resolve_init(config.init)
    return (
        model,
        processor,
        load_params(directory, model.config, adapter=adapter_of(config.init, directory, model.config)),
    )


def load_init(config: ConfigDict) -> tuple[Model, Processor]:
    """Model and processor of config.init. Its weights, and an adapter's, are looked at but not read: a missing file is
    to be known at once."""
    limits = config.processor.min_pixels or None, config.processor.max_pixels or None
    directory = resolve_init(config.init)
    model, processor = load_parts(
        directory, config.model.dtype, config.model.remat, *limits, attention=config.model.attention
    )
    check_tensors(directory, model.config)
    for adapter in (config.init if peft.is_adapter_directory(config.init) else "", config.lora.adapter):
        if adapter:
            peft.check_files(adapter)
    return model, processor


def load_for_inference(
    directory: Path, sizes: Sizes, mesh: Mesh, dtype: jnp.dtype, adapter: dict | None = None
) -> dict:
    """All parameters on the mesh in one dtype, an adapter's leaves (`adapter_of`) merged."""
    return load_sharded(directory, sizes, mesh, dict.fromkeys(leaf_paths(abstract_params(sizes)), dtype), adapter)


def load_parts(
    directory: Path,
    dtype: str,
    remat: str = "none",
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    attention: str = "auto",
) -> tuple[Model, Processor]:
    """Model and processor of a HuggingFace directory, without its weights; None for the directory's own pixel limits.

    attention: as config.model.attention, for this process's devices. Raises ValueError where it cannot run, where the
    tokenizer knows more tokens than the model has rows, and where the two disagree about the image tokens.
    """
    sizes = sizes_of(directory)
    model = make_model(sizes, dtype, remat, choose(attention, jax.default_backend(), dtype))
    processor = load_processor(directory, min_pixels, max_pixels)
    if processor.vocab_tokens > sizes.vocab_size:
        raise ValueError(
            f"{directory}: the tokenizer knows {processor.vocab_tokens} tokens, config.json has {sizes.vocab_size} rows"
        )
    for name in ("image_token_id", "video_token_id"):
        if (known := getattr(processor, name)) != (said := getattr(sizes, name)):
            raise ValueError(
                f"{directory}: {name} is {said} in config.json and {known} in the tokenizer: take both from one model"
            )
    for name in ("vision_start_token_id", "vision_end_token_id"):
        if (known := getattr(processor, name)) not in sizes.visual_token_ids:
            raise ValueError(
                f"{directory}: {name} is {known} in the tokenizer, and config.json has another: take both from one "
                "model"
            )
    return model, processor


def export(directory: Path, model: Model, params: dict, processor: Processor, dtype: str) -> None:
    """Writes the HuggingFace directory of the result: weights (adapters merged), config, tokenizer, processor. Every
    process calls it with its part of the parameters, process 0 writes."""
    save_params(directory, model.config, params, dtype)
    if is_writer():
        save_processor(processor, directory)


def export_adapter(directory: Path, params: dict, init: str) -> None:
    """Writes the trained adapter in PEFT's format, with the directory of its base; as `export`."""
    peft.save_adapter(directory, params, resolve_init(init))
