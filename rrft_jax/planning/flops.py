"""Multiplications of a program, counted dot by dot in what was traced, loops times their length.

The compiler's own count holds a loop's body once, whatever its length, so it cannot be used for scanned layers.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jax.extend.core import Jaxpr

from rrft_jax.models.features import TOWER


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of all dots on all devices together; tower: the vision tower's share of `total`."""

    total: float = 0.0
    tower: float = 0.0

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.total + other.total, self.tower + other.tower)

    def times(self, count: float) -> "Flops":
        return Flops(self.total * count, self.tower * count)

    def per_device(self, devices: int, tensor: int) -> float:
        """Split evenly, the tower's over the devices / tensor that it is split over."""
        return (self.total - self.tower) / devices + self.tower / (devices // tensor)


def count_flops(jaxpr: Jaxpr, while_trips: int, in_tower: bool = False, rounds: int = 1) -> Flops:
    """2 x multiply-adds of every dot_general; a scan counts its length, a while loop `while_trips` rounds, a kernel its
    grid (tiles that its mask leaves out count too, where the grid holds them), a shard_map all its devices. Of branches
    in a scan the cheapest runs in one of its rounds, as the prompt's last layer does; elsewhere the most expensive
    counts. rounds: of the scan around this jaxpr.

    Everything that is not a dot (norms, softmax, rotary positions) is left out: a few per cent at most.
    """
    found = Flops()
    for eqn in jaxpr.eqns:
        inside = in_tower or TOWER in str(eqn.source_info.name_stack)
        if eqn.primitive.name == "dot_general":
            n = _dot(eqn)
            found += Flops(n, n if inside else 0.0)
            continue
        scanned = eqn.params["length"] if eqn.primitive.name == "scan" else rounds
        parts = [count_flops(part, while_trips, inside, scanned) for part in _inner(eqn)]
        if eqn.primitive.name == "cond":
            parts = _weighted(sorted(parts, key=lambda part: part.total), rounds)
        total = sum(parts, Flops()).times(_runs(eqn, while_trips))
        # What each device does by itself is split as it should be, in the tower too.
        found += Flops(total.total) if eqn.primitive.name == "shard_map" else total
    return found


def _weighted(parts: list[Flops], rounds: int) -> list[Flops]:
    least, most = parts[0], parts[-1]
    return [most] if rounds == 1 else [most.times(1 - 1 / rounds), least.times(1 / rounds)]


def _inner(eqn: Any) -> Iterator[Jaxpr]:
    for value in eqn.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            part = getattr(part, "jaxpr", part)
            if hasattr(part, "eqns"):
                yield part


def _runs(eqn: Any, while_trips: int) -> int:
    """How often what is inside runs, on all devices together."""
    match eqn.primitive.name:
        case "scan":
            return eqn.params["length"]
        case "while":
            return while_trips
        case "pallas_call":
            return math.prod(eqn.params["grid_mapping"].grid)
        case "shard_map":
            return eqn.params["mesh"].size
    return 1


def _dot(eqn: Any) -> float:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    left, out = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    return 2.0 * math.prod(out) * math.prod(left[i] for i in contracted)
