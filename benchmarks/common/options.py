"""The options the scripts share: which model, which prompts, how to measure."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """A problem both sides can build for themselves; image in pixels a side, the rest counts."""

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


def parser(doc: str, peer: str | None, **defaults) -> argparse.ArgumentParser:
    """The shared flags; defaults replace those of single flags."""
    out = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--checkpoint", help="HuggingFace directory; without it, random weights of --size")
    out.add_argument("--size", default="5.8M", help="of the random model: a name in common/checkpoint.py")
    out.add_argument("--prompts", type=int, default=2)
    out.add_argument("--group", type=int, default=8, help="completions per prompt")
    out.add_argument("--new-tokens", type=int, default=64, help="tokens per completion; none ends early")
    out.add_argument("--image", type=int, default=224, help="side of a picture in pixels")
    out.add_argument("--images", type=int, default=1, help="pictures per prompt")
    out.add_argument("--text-tokens", type=int, default=106, help="prompt tokens besides the visual ones")
    out.add_argument("--threads", type=int, default=1, choices=(0, 1), help="1: pinned to one core; 0: all cores")
    out.add_argument("--core", type=int, default=0, help="the core to pin to")
    out.add_argument("--steps", type=int, default=5)
    out.add_argument("--json", help="file to write")
    if peer:
        out.add_argument("--against", choices=[peer], help="measure this too (extra `bench`)")
    out.set_defaults(**defaults)
    return out


@contextmanager
def problem(args: argparse.Namespace) -> Iterator[Options]:
    """The options, with a checkpoint on disk for as long as the context lasts."""
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = args.checkpoint
        if checkpoint is None:
            from common.checkpoint import make_checkpoint, model_config

            checkpoint = make_checkpoint(Path(scratch) / "model", model_config(args.size))
        named = {k: v for k, v in vars(args).items() if k in Options.__dataclass_fields__}
        yield Options(**{**named, "checkpoint": str(checkpoint)})
