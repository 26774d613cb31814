"""Asks a checkpoint about images; the answer is printed as it is written.

    python launch/generate.py --image scene.png --question "How many cubes are there?"
    python launch/generate.py --checkpoint=workdirs/mine --image a.png --image b.png --temperature=1 --seed=3 \\
        --question "What differs?"

Without --question, every line of standard input is a question about the same images.
"""

import os
import sys
from collections.abc import Iterator

from absl import app, flags, logging

from rrft_jax.tasks.registry import AUTO, get_task, question_templates

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "nano", "nano, a HuggingFace directory, a finished workdir, or a LoRA adapter."
)
_IMAGE = flags.DEFINE_multi_string("image", [], "Image file; give it several times for several images, or not at all.")
_QUESTION = flags.DEFINE_string("question", None, "The question; without it, one per line of standard input.")
_TEMPLATE = flags.DEFINE_enum(
    "template", None, [*question_templates(), "none"],
    "Prompt template around the question, none for the bare question. Default: the one the checkpoint was trained "
    f"with ({get_task(AUTO).prompts['cot']} for nano, config.prompt for a workdir), none for a HuggingFace directory.",
)  # fmt: skip
_SYSTEM = flags.DEFINE_string("system", None, "System prompt in place of the chat template's own.")
_TEMPERATURE = flags.DEFINE_float("temperature", 0.0, "0 is greedy.")
_TOP_K = flags.DEFINE_integer("top_k", 0, "Draw from the k most likely tokens; 0 is off.")
_TOP_P = flags.DEFINE_float("top_p", 1.0, "Draw from the smallest set of tokens of this mass; 1 is off.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws; question i of standard input has draws of its own.")
_MAX_NEW_TOKENS = flags.DEFINE_integer("max_new_tokens", 256, "Longest answer in tokens.", lower_bound=1)
_MIN_PIXELS = flags.DEFINE_integer("min_pixels", None, "Smallest area an image is resized to; default: checkpoint's.")
_MAX_PIXELS = flags.DEFINE_integer("max_pixels", None, "Largest area an image is resized to; default: checkpoint's.")
_CACHE = flags.DEFINE_string("compilation_cache", "~/.cache/rrft_jax/xla", "Keeps compiled programs; empty disables.")
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Type of parameters and products.")


def questions() -> Iterator[str]:
    if _QUESTION.value is not None:
        yield _QUESTION.value
        return
    if sys.stdin.isatty():
        print("One question per line; Ctrl-D ends.", file=sys.stderr)
    yield from filter(None, map(str.strip, sys.stdin))


def answer_all() -> None:
    from rrft_jax.compilation import keep_programs
    from rrft_jax.data.decoding import quiet_pillow
    from rrft_jax.evaluation.answer import make_answer
    from rrft_jax.evaluation.asking import load_to_ask, make_prompt_fn, read_image
    from rrft_jax.parallel.processes import require_devices
    from rrft_jax.rollout.sampling import Sampling

    keep_programs(_CACHE.value)
    quiet_pillow()
    require_devices()
    sampling = Sampling(_TEMPERATURE.value, _TOP_K.value, _TOP_P.value)
    # A damaged file is refused before the model is loaded.
    images = [read_image(path, f"--image={path}") for path in _IMAGE.value]
    model, params, processor = load_to_ask(_CHECKPOINT.value, _DTYPE.value, _MIN_PIXELS.value, _MAX_PIXELS.value)
    ask = make_prompt_fn(_CHECKPOINT.value, _TEMPLATE.value)
    answer = make_answer(model, params, processor, sampling, _MAX_NEW_TOKENS.value, _SEED.value)
    for number, question in enumerate(questions()):
        for piece in answer(ask(question), images, _SYSTEM.value, number):
            print(piece, end="", flush=True)
        print(flush=True)


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: every option is a --flag=value")
    logging.set_verbosity(logging.WARNING)
    # The answer is the output; transformers' notes about torch and token ids would stand before it.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        answer_all()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print()
        return 130
    return 0


if __name__ == "__main__":
    app.run(main)
