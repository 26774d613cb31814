"""Serves a checkpoint over OpenAI's chat completions, with images, on this machine alone.

    python launch/serve.py --checkpoint=nano
    python launch/serve.py --checkpoint=workdirs/mine --port=8001 --max_new_tokens=2048

docs/serving.md shows how to ask it. Ctrl-C finishes what was begun and stops; a second one stops at once.
"""

import os
import sys
from pathlib import Path

from absl import app, flags, logging

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "nano", "nano, a HuggingFace directory, a finished workdir, or a LoRA adapter."
)
_NAME = flags.DEFINE_string("name", None, "What requests call the model. Default: the last part of --checkpoint.")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; any but loopback is open to its network.")
_ALLOWED_HOSTS = flags.DEFINE_list(
    "allowed_hosts", [], "Further names under which requests are answered, such as gpubox or *.example.org; * for any."
)
_PORT = flags.DEFINE_integer("port", 8000, "Port to listen on; 0 takes a free one.", lower_bound=0, upper_bound=65535)
_MAX_NEW_TOKENS = flags.DEFINE_integer(
    "max_new_tokens", 1024, "Longest answer a request may ask for, and the length of one that names none."
)
_MAX_ROWS = flags.DEFINE_integer("max_rows", 16, "Answers drawn at once, a power of two; also the most of one request.")
_MAX_WAITING = flags.DEFINE_integer("max_waiting", 64, "Requests that may wait; further ones get 503.", lower_bound=1)
_MAX_IMAGES = flags.DEFINE_integer("max_images", 16, "Images of one request.", lower_bound=0)
_MAX_MB = flags.DEFINE_integer("max_mb", 32, "Megabytes of one request.", lower_bound=1)
_MAX_PROGRAMS = flags.DEFINE_integer(
    "max_programs", 64, "Compiled programs kept: one per shape and decoding setting.", lower_bound=1
)
_MIN_PIXELS = flags.DEFINE_integer("min_pixels", None, "Smallest area an image is resized to; default: checkpoint's.")
_MAX_PIXELS = flags.DEFINE_integer("max_pixels", None, "Largest area an image is resized to; default: checkpoint's.")
_CACHE = flags.DEFINE_string("compilation_cache", "~/.cache/rrft_jax/xla", "Keeps compiled programs; empty disables.")
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Type of parameters and products.")


def serve() -> int:
    try:
        import starlette  # noqa: F401 - looked for first, so that nothing is loaded in vain
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ValueError(f"{error.name} is not installed: pip install -e '.[serve]'") from None

    from rrft_jax.compilation import keep_programs
    from rrft_jax.data.decoding import quiet_pillow
    from rrft_jax.evaluation.asking import load_to_ask
    from rrft_jax.parallel.processes import require_devices
    from rrft_jax.serving.app import make_app
    from rrft_jax.serving.engine import Engine
    from rrft_jax.serving.hosts import host_check
    from rrft_jax.serving.listening import listen, run_server
    from rrft_jax.serving.prepare import Limits
    from rrft_jax.serving.programs import DecodePrograms
    from rrft_jax.serving.text import answer_pieces

    try:
        trusted = host_check(_HOST.value, _ALLOWED_HOSTS.value)
    except ValueError as error:
        raise ValueError(f"--allowed_hosts: {error}") from None
    listener = listen(_HOST.value, _PORT.value)
    keep_programs(_CACHE.value)
    quiet_pillow()
    require_devices()
    model, params, processor = load_to_ask(_CHECKPOINT.value, _DTYPE.value, _MIN_PIXELS.value, _MAX_PIXELS.value)
    limits = Limits(
        model.config.max_position_embeddings, _MAX_NEW_TOKENS.value, _MAX_ROWS.value, _MAX_IMAGES.value,
        _MAX_MB.value * 2**20,
    )  # fmt: skip
    programs = DecodePrograms(model, params, processor, _MAX_PROGRAMS.value)
    engine = Engine(programs, lambda *of: answer_pieces(processor, *of), limits.max_rows, _MAX_WAITING.value)
    name = _NAME.value or Path(_CHECKPOINT.value).expanduser().absolute().name

    app_of_model = make_app(engine, processor, name, limits, trusted)
    return run_server(app_of_model, engine, listener, f"serving {name} on {{url}}/v1 (Ctrl-C stops)")


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: every option is a --flag=value")
    logging.set_verbosity(logging.WARNING)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its notes about torch and token ids
    try:
        return serve()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    app.run(main)
