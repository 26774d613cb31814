"""Chips and slices by name: their memory and speed, and devices to compile for without having them."""

import math
import os
import re
from dataclasses import dataclass
from typing import Any

import jax


@dataclass(frozen=True)
class Chip:
    """One chip as its maker states it. hbm: bytes a program may use, as the compiler counts them (0: no limit known);
    flops: dense bfloat16 FLOP/s; hbm_bandwidth, link_bandwidth: bytes/s, the latter of one interconnect link one way.
    0 means that a speed is not known; no time is predicted from it."""

    name: str
    hbm: int
    flops: float = 0.0
    hbm_bandwidth: float = 0.0
    link_bandwidth: float = 0.0


GIB = 2**30
# Memory: what libtpu 0.0.42 says is available when a program asks for too much. Speeds: cloud.google.com/tpu/docs; the
# link's is the chip's two-way interconnect bandwidth over twice its links (4 in the 2-D v5e and v6e, 6 in the 3-D v5p).
TPUS = {
    "v5e": Chip("v5e", int(15.75 * GIB), 197e12, 819e9, 50e9),
    "v5p": Chip("v5p", int(95.74 * GIB), 459e12, 2765e9, 100e9),
    "v6e": Chip("v6e", int(31.25 * GIB), 918e12, 1640e9, 100e9),
}
# Shapes that can be rented, smallest first. Other devices come in any power of two.
_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
# What the driver shows of the smallest common card of a size in GB (T4; L4 and A10G; A100; A100, H100; H200).
CARDS = {16: 14.56, 24: 22.03, 40: 39.39, 80: 79.1, 141: 139.7}
CARD_SHARE = 0.95  # of it that XLA takes with XLA_PYTHON_CLIENT_MEM_FRACTION=.95 (docs/gpu.md)
SLICES = {
    "v5e": _FLAT,
    "v6e": _FLAT,
    "v5p": ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8"),
}


_COUNT = re.compile("[1-9][0-9]{0,3}")  # of devices, or along an axis: no list of more is ever made


@dataclass(frozen=True)
class StandIn:
    """A stand-in for a device, with the fields that a plan reads; nothing is compiled for it."""

    id: int
    platform: str
    device_kind: str = "stand-in"
    process_index: int = 0


def slices(kind: str) -> list[tuple[str, int]]:
    """The slices of a chip by name, as --topology takes them, with their devices; the smallest first."""
    if kind not in SLICES:
        return [(f"{2**n} devices", 2**n) for n in range(9)]
    return [(f"{kind}:{shape}", math.prod(map(int, shape.split("x")))) for shape in SLICES[kind]]


def topology_devices(topology: str) -> tuple[list[Any], Chip]:
    """Devices of "v5e:4x4" (libtpu, no TPU needed), "cpu:8" (fake ones, see `prepare`) or "local" (those found here).

    "gpu:24" is one card of 24 GB and "gpu:80x8" eight of 80 GB, as `StandIn`s: to plan for, not to compile.
    Raises ValueError for a name that is not known and RuntimeError, with the remedy, where libtpu is not installed.
    """
    kind, _, shape = topology.partition(":")
    if topology == "local":
        devices = jax.devices()
        stats = devices[0].memory_stats() or {}
        return devices, Chip(devices[0].device_kind, stats.get("bytes_limit", 0))
    if kind == "cpu" and _COUNT.fullmatch(shape):
        devices = jax.devices("cpu")
        if len(devices) < int(shape):
            raise ValueError(f"topology {topology}: the process has {len(devices)} CPU devices; see prepare()")
        return devices[: int(shape)], Chip("cpu", 0)
    if kind == "gpu":
        return _cards(topology, shape)
    if kind not in TPUS or not all(map(_COUNT.fullmatch, shape.split("x"))) or "x" not in shape:
        raise ValueError(
            f"topology={topology!r}: give KIND:SHAPE with KIND one of {', '.join(TPUS)}, such as v5e:4x4; cpu:8 for "
            "eight fake devices; gpu:24 for a card of 24 GB; or local"
        )
    from jax.experimental import topologies

    try:
        # A host has four chips if nothing is said, and a slice of one chip would then be less than a host.
        host = {} if math.prod(map(int, shape.split("x"))) > 1 else {"chips_per_host_bounds": (1, 1, 1)}
        described = topologies.get_topology_desc(platform="tpu", topology_name=topology, **host)
    except Exception as error:  # errors of many types: libtpu is missing, or it refuses the shape
        raise RuntimeError(
            f"topology={topology}: libtpu did not take it ({str(error).splitlines()[0]}). Compiling for a TPU needs "
            "the tpu extra (pip install -c requirements.lock -e '.[tpu]') and a shape that exists"
        ) from error
    return list(described.devices), TPUS[kind]


def _cards(topology: str, shape: str) -> tuple[list[StandIn], Chip]:
    size, times, count = shape.partition("x")
    if size not in map(str, CARDS) or (times and not _COUNT.fullmatch(count)):
        raise ValueError(
            f"topology={topology!r}: give gpu:SIZE, a card of {', '.join(map(str, CARDS))} GB, or gpu:SIZExCOUNT"
        )
    usable = int(CARDS[int(size)] * CARD_SHARE * GIB)
    return [StandIn(number, "gpu") for number in range(int(count or 1))], Chip(f"GPU of {size} GB", usable)


def prepare(topology: str) -> None:
    """Environment for `topology_devices`; before jax makes its first device, as both settings are read only then."""
    kind, _, shape = topology.partition(":")
    if topology == "local":
        return
    os.environ["JAX_PLATFORMS"] = "cpu"
    jax.config.update("jax_platforms", "cpu")  # jax read the environment when it was imported
    if kind == "cpu" and _COUNT.fullmatch(shape):
        kept = [f for f in os.environ.get("XLA_FLAGS", "").split() if "host_platform_device_count" not in f]
        os.environ["XLA_FLAGS"] = " ".join([*kept, f"--xla_force_host_platform_device_count={shape}"])
        return
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # do not ask a cloud's metadata server which TPU this is
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # nothing runs, so two compilers do not disturb each other
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
