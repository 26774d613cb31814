"""A page on this machine: choose a task, take an example scene or your own picture, ask, and watch several answers as
they are drawn, each with its rewards and, for boxes and points, the drawing.

    python launch/demo.py
    python launch/demo.py --checkpoint=workdirs/mine --port=8001

It listens on loopback alone unless --host says otherwise, and sends nothing to any other host. It needs the extra:
pip install -e '.[serve]'.
"""

import os
import sys
from pathlib import Path

from absl import app, flags, logging

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "nano", "nano, a HuggingFace directory, a finished workdir, or a LoRA adapter."
)
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; any but loopback is open to its network.")
_PORT = flags.DEFINE_integer("port", 8080, "Port to listen on; 0 takes a free one.", lower_bound=0, upper_bound=65535)
_TASK = flags.DEFINE_multi_string("task", [], "A task to offer, besides the package's own: my_task.py:TASK.")
_MAX_NEW_TOKENS = flags.DEFINE_integer("max_new_tokens", 1024, "Longest answer that may be asked for.", lower_bound=1)
_MAX_ROWS = flags.DEFINE_integer("max_rows", 16, "Most answers to one question, a power of two.")
_MIN_PIXELS = flags.DEFINE_integer("min_pixels", None, "Smallest area an image is resized to; default: checkpoint's.")
_MAX_PIXELS = flags.DEFINE_integer("max_pixels", None, "Largest area an image is resized to; default: checkpoint's.")
_CACHE = flags.DEFINE_string("compilation_cache", "~/.cache/rrft_jax/xla", "Keeps compiled programs; empty disables.")
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Type of parameters and products.")


def demo() -> int:
    try:
        import starlette  # noqa: F401 - looked for first, so that nothing is loaded in vain
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ValueError(f"{error.name} is not installed: pip install -e '.[serve]'") from None
    from rrft_jax.compilation import keep_programs
    from rrft_jax.data.decoding import quiet_pillow
    from rrft_jax.evaluation.asking import load_to_ask
    from rrft_jax.parallel.processes import require_devices
    from rrft_jax.rewards import Pool, symbolic
    from rrft_jax.run.workdir import VERSIONS, trained_with
    from rrft_jax.serving.demo import make_demo
    from rrft_jax.serving.engine import Engine
    from rrft_jax.serving.hosts import host_check
    from rrft_jax.serving.listening import listen, run_server
    from rrft_jax.serving.prepare import Limits
    from rrft_jax.serving.programs import DecodePrograms
    from rrft_jax.serving.text import answer_pieces
    from rrft_jax.tasks.registry import get_task, tasks

    listener = listen(_HOST.value, _PORT.value)
    of = lambda task: dict(task.parts) or {task.name: task}  # noqa: E731, of a mixture each of its tasks
    offered = {name: task for given in _TASK.value for name, task in of(get_task(given, "--task")).items()}
    offered |= dict(tasks())
    keep_programs(_CACHE.value)
    quiet_pillow()
    require_devices()
    model, params, processor = load_to_ask(_CHECKPOINT.value, _DTYPE.value, _MIN_PIXELS.value, _MAX_PIXELS.value)
    workdir = Path(_CHECKPOINT.value).expanduser()
    task, prompt, folder = "", "cot", "published" * (_CHECKPOINT.value != "nano")
    if (workdir / VERSIONS).is_file():
        task, prompt, folder = trained_with(workdir)
        trained = of(get_task(task))
        offered, task = trained | offered, next(iter(trained))
    limits = Limits(model.config.max_position_embeddings, _MAX_NEW_TOKENS.value, _MAX_ROWS.value)
    programs = DecodePrograms(model, params, processor)
    engine = Engine(programs, lambda *of: answer_pieces(processor, *of), limits.max_rows)
    name = workdir.absolute().name
    with Pool(1, initializer=symbolic.load) as pool:
        page = make_demo(
            engine, processor, name, offered, limits, pool, (task, prompt), bool(folder),
            host_check(_HOST.value),
        )  # fmt: skip
        return run_server(page, engine, listener, f"{name} answers on {{url}} (Ctrl-C stops)")


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: every option is a --flag=value")
    logging.set_verbosity(logging.WARNING)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its notes about torch and token ids
    try:
        return demo()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    app.run(main)
