"""Tables on the screen, JSON on disk, and a description of the machine."""

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "transformers", "trl", "accelerate", "datasets", "numpy")


def machine() -> dict[str, Any]:
    """Processor, cores, load and versions, without which a figure means nothing."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    model = platform.processor()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "cpu": model, "cores": os.cpu_count(), "load": [round(x, 2) for x in os.getloadavg()],
        "python": platform.python_version(), "versions": versions,
    }  # fmt: skip


def chosen(args: argparse.Namespace) -> dict[str, Any]:
    """The options a figure depends on: all but the names of files."""
    return {name: value for name, value in vars(args).items() if name not in ("json", "svg", "compare")}


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Plain text, the first column left, the others right; floats to three digits."""
    text = [[x if isinstance(x, str) else f"{x:.3g}" if isinstance(x, float) else str(x) for x in r] for r in rows]
    widths = [max(len(r[k]) for r in [list(head), *text]) for k in range(len(head))]
    line = lambda r: "  ".join(  # noqa: E731
        x.ljust(w) if k == 0 else x.rjust(w) for k, (x, w) in enumerate(zip(r, widths, strict=True))
    )
    return "\n".join([line(list(head)), line(["-" * w for w in widths]), *map(line, text)])


def side_by_side(ours: Mapping, peer: Mapping | None, name: str) -> str:
    """CPU-seconds a step by phase, ours and the peer's, and how many times fewer ours are."""
    phases = list(dict.fromkeys([*ours["phases"], *(peer["phases"] if peer else ())]))
    rows = []
    for phase in [p for p in phases if not p.startswith("apart")] + ["step"]:
        mine = ours if phase == "step" else ours["phases"].get(phase)
        other = peer and (peer if phase == "step" else peer["phases"].get(phase))
        cells = [x["cpu_s"] if x else "" for x in (mine, other)]
        rows.append([phase, *cells, cells[1] / cells[0] if mine and other and cells[0] > 1e-4 else ""])
    return table(["CPU-seconds", "ours", name, f"{name} / ours"], rows)


def summary(name: str, side: Mapping) -> str:
    parts = [
        f"{name}: {side['cpu_s']:.3f} CPU-s a step ({side['cpu_s_min']:.3f} ... {side['cpu_s_max']:.3f} over "
        f"{side['steps']} steps), {side['wall_s']:.3f} s wall, CPU / wall {side['cpu_over_wall']:.2f}",
        f"peak memory {side['memory'] / 2**20:.0f} MiB ({side['memory_imports'] / 2**20:.0f} of it libraries)",
    ]
    if "first_call_s" in side:
        parts.append(f"first call, with compilation, {side['first_call_s']:.1f} s, not counted")
    if side["busy_steps"]:
        parts.append(
            f"NOT QUIET: in {side['busy_steps']} of {side['steps']} steps less than 90 % of the core was ours, "
            "something else was running; CPU-seconds suffer a little, wall seconds much"
        )
    return "; ".join(parts)


def save(path: str | Path | None, result: Mapping) -> None:
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(result, indent=2) + "\n")
