"""The options the scripts share: which model, which prompts, how to measure."""

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from common.turns import usable_cores

NEEDS = {"trl": ("torch", "trl", "datasets"), "transformers": ("torch",)}  # what a peer imports of the extra `bench`


@dataclass(frozen=True)
class Options:
    """A problem both sides can build for themselves; image in pixels a side, the rest counts.

    width: of a picture that is no square, image being its height.
    """

    checkpoint: str
    prompts: int
    group: int
    new_tokens: int
    image: int
    images: int
    text_tokens: int
    beta: float = 0.0
    micro_batches: int = 1
    against: str | None = None
    compact: tuple[int, ...] = ()
    width: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a picture in pixels."""
        return self.image, self.width or self.image


def at_least(least: int) -> Callable[[str], int]:
    """The type of a flag that is a whole number from `least` on."""

    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least {least}")
        return int(text)

    return whole


count = at_least(1)


def weight(text: str) -> float:
    """The type of a flag that is a finite number and not negative."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 0")
    return value


def minutes(text: str) -> float:
    """The type of --minutes."""
    value = float(text)
    if not 0 < value <= 24 * 60:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of minutes (at most a day's)")
    return value


def a_core(text: str) -> int:
    """The type of --core."""
    usable = [str(core) for core in usable_cores()]
    if text not in usable:
        raise argparse.ArgumentTypeError(f"{text}: choose one of {', '.join(usable)}")
    return int(text)


def a_checkpoint(text: str) -> str:
    """The type of --checkpoint."""
    if not (Path(text) / "config.json").is_file():
        raise argparse.ArgumentTypeError(f"{text} is no HuggingFace directory: it holds no config.json")
    return text


def a_peer(*names: str) -> Callable[[str], str]:
    """The type of --against: one of `names`, and what it needs is installed."""

    def one(name: str) -> str:
        if name not in names:
            raise argparse.ArgumentTypeError(f"{name!r}: choose {' or '.join(names)}")
        if missing := [package for package in NEEDS[name] if find_spec(package) is None]:
            raise argparse.ArgumentTypeError(f"{name} needs {', '.join(missing)}: pip install -e '.[bench]'")
        return name

    return one


def a_size(name: str) -> str:
    """The type of --size."""
    from common.checkpoint import SIZES

    if name not in SIZES:
        raise argparse.ArgumentTypeError(f"{name!r}: choose one of {', '.join(SIZES)}")
    return name


def parser(doc: str, peer: str | None, grouped: bool = True, **defaults) -> argparse.ArgumentParser:
    """The shared flags; defaults replace those of single flags. grouped=False: prompts have one completion each."""
    out = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--checkpoint", type=a_checkpoint, help="HuggingFace directory; else random weights of --size")
    out.add_argument("--size", type=a_size, default="5.8M", help="of the random model: a name in common/checkpoint.py")
    out.add_argument("--prompts", type=count, default=2)
    if grouped:
        out.add_argument("--group", type=count, default=8, help="completions per prompt")
    out.add_argument("--new-tokens", type=count, default=64, help="tokens per completion; none ends early")
    out.add_argument("--image", type=count, default=224, help="side of a picture in pixels")
    out.add_argument("--images", type=count, default=1, help="pictures per prompt")
    out.add_argument("--text-tokens", type=count, default=106, help="prompt tokens besides the visual ones")
    out.add_argument("--threads", type=int, default=1, choices=(0, 1), help="1: pinned to one core; 0: all cores")
    out.add_argument("--core", type=a_core, default=usable_cores()[0], help="the core to pin to")
    out.add_argument("--steps", type=count, default=5)
    out.add_argument("--json", help="file to write")
    if peer:
        out.add_argument("--against", type=a_peer(peer), metavar=peer, help="measure this too (extra `bench`)")
    out.set_defaults(**defaults)
    return out


@contextmanager
def problem(flags: argparse.ArgumentParser, args: argparse.Namespace) -> Iterator[Options]:
    """The options, with a checkpoint on disk for as long as the context lasts.

    What only the checkpoint can tell about them is an error of `flags`, too, before a side is started.
    """
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = args.checkpoint
        if checkpoint is None:
            from common.checkpoint import make_checkpoint, model_config

            checkpoint = make_checkpoint(Path(scratch) / "model", model_config(args.size))
        check_text(flags, args, checkpoint)
        named = {k: v for k, v in vars(args).items() if k in Options.__dataclass_fields__}
        yield Options(**{**named, "checkpoint": str(checkpoint)})


def check_text(flags: argparse.ArgumentParser, args: argparse.Namespace, checkpoint: str | Path) -> None:
    """Ends with an error of `flags` where the processor cannot be read or --text-tokens do not hold its template."""
    from common.problem import check_template
    from rrft_jax.processing.processor import load_processor

    try:
        check_template(load_processor(checkpoint), [(args.image, args.image)] * args.images, args.text_tokens)
    except (OSError, ValueError) as error:
        flags.error(str(error))
