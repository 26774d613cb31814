"""What the programs share that ask a checkpoint about pictures: loading it, its prompt, and picture files."""

import re
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from rrft_jax.data.decoding import open_image
from rrft_jax.data.example import Example
from rrft_jax.models.protocol import Model
from rrft_jax.models.weights import load_params
from rrft_jax.pretrained import adapter_of, load_parts, resolve_init
from rrft_jax.processing.processor import Processor
from rrft_jax.run.workdir import VERSIONS, trained_with
from rrft_jax.tasks.registry import AUTO, get_task, question_templates
from rrft_jax.tasks.texts import fill

# The letters of a multiple choice: the first A, once found, is kept, or many of them would take quadratic time.
LISTED = re.compile(r"\A(?>.*?\bA[.:)]).*\bB[.:)]", re.DOTALL)


def load_to_ask(
    checkpoint: str, dtype: str, min_pixels: int | None = None, max_pixels: int | None = None
) -> tuple[Model, dict, Processor]:
    """Model, its parameters on the default device in `dtype` (an adapter's merged), and processor.

    checkpoint: 'nano', a HuggingFace directory, a finished workdir or a LoRA adapter. min_pixels, max_pixels: None for
    the directory's own. Raises ValueError that names --checkpoint or the file at fault.
    """
    directory = resolve_init(checkpoint, "--checkpoint")
    model, processor = load_parts(directory, dtype, min_pixels=min_pixels, max_pixels=max_pixels)
    adapter = adapter_of(checkpoint, directory, model.config)
    params = load_params(directory, model.config, np.dtype(model.compute_dtype), adapter)
    return model, jax.device_put(params), processor


def make_prompt_fn(checkpoint: str, template: str | None) -> Callable[[str], str]:
    """From a question to the user's text: by --template, or as the checkpoint was asked when it was trained. ValueError
    where that was a mixture of tasks."""
    workdir = Path(checkpoint).expanduser()
    if template is None and (workdir / VERSIONS).is_file():
        name, prompt, folder = trained_with(workdir)
        task = get_task(name)
        if task.parts:
            raise ValueError(
                f"--checkpoint={checkpoint} was trained on several tasks, {', '.join(task.parts)}, which ask "
                "differently: give --template, or none for the bare question"
            )
        ask = task.prompt_fn(prompt, bool(folder))
        # Training with reasoning tells a multiple choice from a number by the answer, which nobody has here.
        return lambda question: ask(Example("", task.name, question, "A" if LISTED.search(question) else ""))
    name = template or (str(get_task(AUTO).prompts["cot"]) if checkpoint == "nano" else "none")
    return lambda question: question if name == "none" else fill(question_templates()[name], question)


def read_image(path: str, where: str) -> Image.Image:
    """The PIL image of a file, its pixels read. ValueError that begins with `where`, such as '--image=scene.png'."""
    try:
        return open_image(path)
    except FileNotFoundError:
        raise ValueError(f"{where}: no such file") from None
    except OSError as error:
        raise ValueError(f"{where}: not a readable image ({getattr(error, 'reason', '') or error})") from None
