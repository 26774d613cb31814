"""Talks with a checkpoint in a terminal: several turns, pictures, answers as they are written.

    python launch/chat.py
    python launch/chat.py --checkpoint=workdirs/mine --image=scene.png --temperature=1

Type a question, or /image FILE, /reset, /help, /quit. Ctrl-C stops an answer and not the program.
"""

import contextlib
import os
import sys

from absl import app, flags, logging

from rrft_jax.tasks.registry import question_templates

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "nano", "nano, a HuggingFace directory, a finished workdir, or a LoRA adapter."
)
_IMAGE = flags.DEFINE_multi_string("image", [], "Image file of the first question; several times for several images.")
_TEMPLATE = flags.DEFINE_enum(
    "template", None, [*question_templates(), "none"],
    "Prompt template around each question, none for the bare question. Default: as in launch/generate.py.",
)  # fmt: skip
_SYSTEM = flags.DEFINE_string("system", None, "System prompt in place of the chat template's own.")
_TEMPERATURE = flags.DEFINE_float("temperature", 0.0, "0 is greedy.")
_TOP_K = flags.DEFINE_integer("top_k", 0, "Draw from the k most likely tokens; 0 is off.")
_TOP_P = flags.DEFINE_float("top_p", 1.0, "Draw from the smallest set of tokens of this mass; 1 is off.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws; every question has draws of its own.")
_MAX_NEW_TOKENS = flags.DEFINE_integer("max_new_tokens", 256, "Longest answer in tokens.", lower_bound=1)
_MIN_PIXELS = flags.DEFINE_integer("min_pixels", None, "Smallest area an image is resized to; default: checkpoint's.")
_MAX_PIXELS = flags.DEFINE_integer("max_pixels", None, "Largest area an image is resized to; default: checkpoint's.")
_CACHE = flags.DEFINE_string("compilation_cache", "~/.cache/rrft_jax/xla", "Keeps compiled programs; empty disables.")
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Type of parameters and products.")


def chat() -> None:
    from rrft_jax.compilation import keep_programs
    from rrft_jax.data.decoding import quiet_pillow
    from rrft_jax.evaluation.answer import make_reply
    from rrft_jax.evaluation.asking import load_to_ask, make_prompt_fn, read_image
    from rrft_jax.parallel.processes import require_devices
    from rrft_jax.rollout.sampling import Sampling
    from rrft_jax.serving.terminal import talk

    keep_programs(_CACHE.value)
    quiet_pillow()
    require_devices()
    sampling = Sampling(_TEMPERATURE.value, _TOP_K.value, _TOP_P.value)
    pictures = [read_image(path, f"--image={path}") for path in _IMAGE.value]
    model, params, processor = load_to_ask(_CHECKPOINT.value, _DTYPE.value, _MIN_PIXELS.value, _MAX_PIXELS.value)
    prompt = make_prompt_fn(_CHECKPOINT.value, _TEMPLATE.value)
    reply = make_reply(model, params, processor, sampling, _MAX_NEW_TOKENS.value, _SEED.value)
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):  # arrow keys and earlier lines
            import readline  # noqa: F401
        print(f"{_CHECKPOINT.value} is ready; /help lists the commands", flush=True)
    talk(reply, prompt, lambda path: read_image(path, f"/image {path}"), pictures, _SYSTEM.value)


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: every option is a --flag=value")
    logging.set_verbosity(logging.WARNING)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its notes about torch and token ids
    try:
        chat()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print()
        return 130
    return 0


if __name__ == "__main__":
    app.run(main)
