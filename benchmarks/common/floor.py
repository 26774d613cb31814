"""How close a side came to its floor: the rates of the machine, measured in turn with the sides, and the table.

As in turns.py, nothing here may import jax before the process is pinned.
"""

from collections.abc import Mapping
from typing import Any

from common.report import table
from common.turns import Clock, Turn

SIZE, COPIED = 1536, 2**27  # rows of a square product; bytes that are read and written


def rates_side(options: Any, turn: Turn) -> None:
    """A step is one large float32 product and one pass over an array that no cache holds."""
    import jax
    import jax.numpy as jnp

    from rrft_jax.models.layers import matmul_precision

    turn.imported()
    x = jax.random.normal(jax.random.key(0), (SIZE, SIZE))
    y = jnp.zeros(COPIED // 4, jnp.float32)
    product = jax.jit(lambda x: jnp.dot(x, x, precision=matmul_precision(x.dtype)))
    copy = jax.jit(lambda y: y + 1, donate_argnums=0)
    y = jax.block_until_ready(copy(jax.block_until_ready((product(x), y))[1]))
    turn.ready()
    while turn.begin():
        clock = Clock()
        with clock("matmul"):
            jax.block_until_ready(product(x))
        with clock("copy"):
            y = jax.block_until_ready(copy(y))
        turn.end(clock.phases)


def unit(threads: int) -> str:
    """CPU-seconds with one thread, wall seconds with all."""
    return "cpu_s" if threads == 1 else "wall_s"


def machine_rates(report: Mapping, threads: int) -> dict[str, float]:
    """The report of `rates_side` as rates, and how many of all its steps met a busy machine."""
    phases = report["phases"]
    return {
        "gflop_per_s": 2 * SIZE**3 / phases["matmul"][unit(threads)] / 1e9,
        "gb_per_s": 2 * COPIED / phases["copy"][unit(threads)] / 1e9,
        "steps": report["steps"] + report["left_out"],
        "busy_steps": report["busy_steps"] + report["left_out"],
    }


def floors(report: Mapping, least: Mapping, rates: Mapping, threads: int) -> dict[str, dict[str, float]]:
    """Of every phase with a least cost: its floor, and the seconds it took over that.

    least: (FLOPs, bytes) by phase; rates: from `machine_rates`.
    The floor is the longer of products and traffic at this machine's rates: they may overlap.
    """
    flops_per_s, bytes_per_s = rates["gflop_per_s"] * 1e9, rates["gb_per_s"] * 1e9
    found = {}
    for phase, (flops, moved) in least.items():
        if phase in report["phases"]:
            floor, took = max(flops / flops_per_s, moved / bytes_per_s), report["phases"][phase][unit(threads)]
            found[phase] = {"least_gflop": flops / 1e9, "floor_s": floor, "seconds": took, "over_floor": took / floor}
    return found


def describe(
    found: Mapping[str, Mapping[str, float]], rates: Mapping, peer: Mapping | None, name: str, threads: int
) -> str:
    """The table of `floors`, which phase costs most above its floor, and the ratio of a program at the floors."""
    head = ["at the machine's rates", "least GFLOP", "floor, s", "ours, s", "ours / floor"]
    lines = [table(head, [[phase, *f.values()] for phase, f in found.items()])]
    lines.append(
        f"these rates: {rates['gflop_per_s']:.0f} GFLOP/s, {rates['gb_per_s']:.1f} GB/s; "
        f"{rates['busy_steps']} of the {rates['steps']} times they were measured not quiet"
    )
    above = {phase: f["seconds"] - f["floor_s"] for phase, f in found.items()}
    worst = max(above, key=above.get)
    lines.append(
        f"in the way: {worst}, {above[worst]:.3f} of the {sum(above.values()):.3f} s that lie between the phases and "
        "their floors (copies, norms, softmax and products of few rows)"
    )
    if peer:
        least = sum(f["floor_s"] for f in found.values())
        lines.append(f"{name} / floors: {peer[unit(threads)] / least:.2f}, and no more")
    return "\n".join(lines)
