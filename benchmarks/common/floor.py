"""How near a side came to its floor: the rates of the machine, measured in turn with the sides, and the table.

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

    from rrft_jax.models.qwen2_vl.layers import matmul_precision

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


def floors(report: Mapping, least: Mapping, rates: Mapping, threads: int) -> dict[str, dict[str, float]]:
    """Of every phase with a least cost: its floor, and the seconds it took over that.

    least: (FLOPs, bytes) by phase; rates: the report of `rates_side`. Seconds are CPU-seconds with one thread, wall
    seconds with all.
    The floor is the longer of products and traffic at this machine's rates: they may overlap.
    """
    unit = "cpu_s" if threads == 1 else "wall_s"
    flops_per_s = 2 * SIZE**3 / rates["phases"]["matmul"][unit]
    bytes_per_s = 2 * COPIED / rates["phases"]["copy"][unit]
    found = {}
    for phase, (flops, moved) in least.items():
        if phase in report["phases"]:
            floor, took = max(flops / flops_per_s, moved / bytes_per_s), report["phases"][phase][unit]
            found[phase] = {"least_gflop": flops / 1e9, "floor_s": floor, "seconds": took, "over_floor": took / floor}
    return found


def describe(found: Mapping[str, Mapping[str, float]], peer: Mapping | None, name: str, threads: int) -> str:
    """The table of `floors`, which phase costs most above its floor, and what the floors alone would be worth."""
    head = ["at the machine's rates", "least GFLOP", "floor, s", "ours, s", "ours / floor"]
    lines = [table(head, [[phase, *f.values()] for phase, f in found.items()])]
    above = {phase: f["seconds"] - f["floor_s"] for phase, f in found.items()}
    worst = max(above, key=above.get)
    lines.append(
        f"in the way: {worst}, {above[worst]:.3f} of the {sum(above.values()):.3f} s that lie between the phases and "
        "their floors (copies, norms, softmax and products of few rows)"
    )
    if peer:
        least = sum(f["floor_s"] for f in found.values())
        lines.append(f"{name} / floors: {peer['cpu_s' if threads == 1 else 'wall_s'] / least:.2f}, and no more")
    return "\n".join(lines)
