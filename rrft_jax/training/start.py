"""The start of a run: what `init` means, and the parameters on the mesh."""

from functools import partial
from pathlib import Path

import jax
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.models.qwen2_vl.config import read_config
from rrft_jax.models.qwen2_vl.model import Qwen2VL
from rrft_jax.models.qwen2_vl.sharding import tree_shardings
from rrft_jax.models.qwen2_vl.weights import load_params, save_params
from rrft_jax.parallel.processes import is_writer, whole_tree
from rrft_jax.processing.processor import Processor, load_processor, save_processor
from rrft_jax.training.step import State, init_state
from rrft_jax.training.workdir import DONE

ASSETS = Path(__file__).parent.parent / "assets"
EXPORT = "hf"  # the HuggingFace directory a finished run leaves in its workdir


def resolve_init(init: str, name: str = "init") -> Path:
    """The HuggingFace directory behind 'nano', a directory, or the workdir of a finished run.

    Raises ValueError that says what was found instead; `name` is what the user knows the argument by.
    """
    if init == "nano":
        return ASSETS / "nano"
    path = Path(init).expanduser()
    if (path / "versions.json").is_file():
        if not (path / DONE).exists():  # its export may be half written
            raise ValueError(
                f"{name}={init} is the workdir of an unfinished run: finish it first (same command, --workdir)"
            )
        return path / EXPORT
    if not (path / "config.json").is_file():
        raise ValueError(
            f"{name}={init!r}: neither 'nano', a HuggingFace directory (config.json), nor a finished workdir"
        )
    return path


def load_model(config: ConfigDict) -> tuple[Qwen2VL, Processor, dict]:
    """Model, processor and float32 numpy parameters of config.init."""
    directory = resolve_init(config.init)
    limits = config.processor.min_pixels or None, config.processor.max_pixels or None
    model, processor = load_parts(directory, config.model.dtype, config.model.remat, *limits)
    return model, processor, load_params(directory, model.config)


def load_parts(
    directory: Path, dtype: str, remat: str = "none", min_pixels: int | None = None, max_pixels: int | None = None
) -> tuple[Qwen2VL, Processor]:
    """Model and processor of a HuggingFace directory, without its weights; None for the directory's own pixel limits.

    Raises ValueError where the tokenizer knows more tokens than the model has rows.
    """
    sizes = read_config(directory)
    model = Qwen2VL(sizes, dtype, remat)
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


def make_state(trainable: dict, optimizer: optax.GradientTransformation, mesh: Mesh) -> State:
    """The state of step 0, sharded over the mesh; trainable: host arrays."""
    build = partial(init_state, optimizer=optimizer)
    params = place(trainable, mesh)
    return jax.jit(build, out_shardings=tree_shardings(jax.eval_shape(build, params), mesh))(params)


def export(directory: Path, model: Qwen2VL, params: dict, processor: Processor, dtype: str) -> None:
    """Writes the HuggingFace directory of the result: weights, config, tokenizer, processor. Every process calls it
    with its part of the parameters, process 0 writes."""
    params = whole_tree(params)
    if not is_writer():
        return
    save_params(directory, model.config, params, dtype)
    save_processor(processor, directory)
