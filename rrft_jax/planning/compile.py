"""The real programs of a run compiled for devices that need not be there: memory, work, collectives, time.

No array is made and nothing runs. What the numbers are: memory is the compiler's own; FLOPs are dots counted in the
traced program, loops times their length; bytes and collectives are read from the compiled text, loops times their
length; times are those divided by the chip's stated speeds, so they are bounds from below, not measurements.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.models.attention import choose
from rrft_jax.models.protocol import Sizes
from rrft_jax.models.registry import make_model
from rrft_jax.parallel.chips import Chip
from rrft_jax.planning.device_memory import MemoryPlan
from rrft_jax.planning.flops import count_flops
from rrft_jax.planning.hlo import Collective, CompiledText
from rrft_jax.planning.shapes import RunShapes, device_bytes, make_shapes, stand_in_tokens
from rrft_jax.training.algorithms import get_algorithm
from rrft_jax.training.critic import optimizer_for
from rrft_jax.training.programs import make_programs

PROGRAMS = ("sample", "reference", "step")
_MEMORY = ("argument_size", "output_size", "alias_size", "temp_size", "generated_code_size", "peak_memory")


@dataclass(frozen=True)
class Memory:
    """Bytes on one device while the program runs. arguments: what it is given; temporaries: what it needs besides that,
    results included; resident: what the run keeps there that the program does not touch; peak: all three.

    The compiler's own "peak" is what is alive at once at most. A TPU reserves its temporaries as one block, with holes
    in it (1.5 GiB in an update of 2B), so the block counts here.
    """

    arguments: int
    temporaries: int
    resident: int

    @property
    def peak(self) -> int:
        return self.arguments + self.temporaries + self.resident


@dataclass(frozen=True)
class Report:
    """One program on one device. memory is None and `refused` is the compiler's message where it did not fit by itself.

    flops: of its dots; traffic: bytes to and from its large memory; received: bytes over the interconnect;
    seconds: {"compute", "memory", "interconnect"} at the chip's stated speeds.
    """

    name: str
    memory: Memory | None
    flops: float
    traffic: float = 0.0
    received: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    collectives: tuple[Collective, ...] = ()
    largest: tuple[tuple[str, int, str], ...] = ()  # shape, bytes, where it comes from
    refused: str = ""
    compile_seconds: float = 0.0
    compiler_cycles: float = 0.0
    compiler_memory: dict[str, int] = field(default_factory=dict)  # bytes, by the compiler's own names

    @property
    def bound(self) -> float:
        """Seconds that it takes at least, with everything overlapped; 0 where a speed is not known."""
        return max(self.seconds.values(), default=0.0)

    def fits(self, chip: Chip) -> bool:
        return self.memory is not None and (not chip.hbm or self.memory.peak <= chip.hbm)


def check(names: Sequence[str]) -> None:
    """Raises ValueError for a program that does not exist."""
    if unknown := set(names) - set(PROGRAMS):
        raise ValueError(f"--programs: {', '.join(sorted(unknown))} unknown, there are {', '.join(PROGRAMS)}")


def arguments(shapes: RunShapes) -> dict[str, tuple]:
    """The arguments of each program."""
    drawn = shapes.drawn
    first = (shapes.first_member,) if shapes.layout.drawn.split > 1 else ()
    return {
        "sample": (shapes.params, drawn.prompts, shapes.key, *first),
        "reference": (shapes.reference, drawn.prompts, drawn.tokens, drawn.token_mask),
        "step": (shapes.state, shapes.frozen, shapes.batch),
    }


def compile_programs(
    config: ConfigDict,
    sizes: Sizes,
    mesh: Mesh,
    chip: Chip,
    names: Sequence[str] = PROGRAMS,
    on_report: Callable[[Report], Any] = lambda report: None,
    keep_text: Callable[[str, str], Any] = lambda name, text: None,
) -> list[Report]:
    """Lowers and compiles the programs of this config for the mesh's devices, one after the other.

    on_report gets each report as soon as it is there; keep_text(name, text) the compiled text.
    """
    attention = choose(config.model.attention, mesh.devices.flat[0].platform, config.model.dtype)
    model = make_model(sizes, config.model.dtype, config.model.remat, attention)
    critic = get_algorithm(config.algorithm).critic(config)
    optimizer, _ = optimizer_for(config, critic)
    shapes = make_shapes(config, sizes, optimizer, mesh)
    algorithm = get_algorithm(config.algorithm)
    programs = make_programs(config, algorithm.loss(config), model, stand_in_tokens(sizes), shapes.layout, critic)
    unused = set() if algorithm.samples else {"sample"}
    unused |= {"reference"} if shapes.reference is None else set()
    names = [name for name in names if name not in unused]
    reports = []
    with jax.set_mesh(mesh):
        for name in names:
            args = arguments(shapes)[name]
            resident = shapes.resident - _kept(name, shapes)
            report = _one(name, getattr(programs, name), args, resident, config, mesh, chip, keep_text)
            on_report(report)
            reports.append(report)
    return reports


def to_dict(reports: Sequence[Report], chip: Chip, config: ConfigDict, mesh: Mesh, plan: MemoryPlan) -> dict:
    """Everything known, for a JSON file. planned_bytes: what the memory plan says of a program; it has no reference.
    planned_evaluation_bytes: the same of the held-out evaluation, which is not compiled; None where there is none."""
    planned = {"sample": plan.sampling, "step": plan.updating}
    return {
        "chip": asdict(chip),
        "mesh": dict(mesh.shape),
        "jax": jax.__version__,
        "fits": all(r.fits(chip) for r in reports) and plan.evaluation_fits(chip.hbm),
        "config": config.to_dict(),
        "planned_evaluation_bytes": plan.evaluating if plan.evaluation else None,
        "programs": [
            asdict(r)
            | {
                "peak_bytes": r.memory and r.memory.peak,
                "planned_bytes": planned.get(r.name),
                "fits": r.fits(chip),
                "bound_seconds": r.bound,
            }
            for r in reports
        ],
    }


def _kept(name: str, shapes: RunShapes) -> int:
    """Bytes of what a run keeps all the time, on one device, that the program is given."""
    given = {
        "sample": shapes.params, "reference": shapes.reference, "step": (shapes.state, shapes.frozen),
    }  # fmt: skip
    return device_bytes(given[name]) - (device_bytes(shapes.offloaded) if name == "step" else 0)


def _one(
    name: str, program: Any, args: tuple, resident: int, config: ConfigDict, mesh: Mesh, chip: Chip,
    keep_text: Callable[[str, str], Any],
) -> Report:  # fmt: skip
    traced = program.trace(*args)
    flops = count_flops(traced.jaxpr.jaxpr, while_trips=config.rollout.max_completion_length)
    work = flops.per_device(mesh.size, mesh.shape["tensor"])
    begin = time.perf_counter()
    try:
        compiled = traced.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error) and "memory" not in str(error):
            raise
        return Report(name, None, work, refused=str(error), compile_seconds=time.perf_counter() - begin)
    spent = time.perf_counter() - begin
    text = compiled.as_text()
    keep_text(name, text)
    read = CompiledText(text, config.rollout.max_completion_length)
    collectives = read.collectives()
    found = compiled.memory_analysis()
    memory = Memory(
        found.argument_size_in_bytes,
        found.temp_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes,
        resident,
    )
    received, traffic = sum(c.moved for c in collectives), read.traffic()
    return Report(
        name, memory, work, traffic, received, _seconds(work, traffic, received, chip), tuple(collectives),
        tuple((str(a), a.bytes, where) for a, where in read.largest()), "", spent, read.cycles(),
        {name: size for name in _MEMORY if (size := getattr(found, f"{name}_in_bytes", 0))},
    )  # fmt: skip


def _seconds(flops: float, traffic: float, received: float, chip: Chip) -> dict[str, float]:
    speeds = {
        "compute": (flops, chip.flops), "memory": (traffic, chip.hbm_bandwidth),
        "interconnect": (received, chip.link_bandwidth),
    }  # fmt: skip
    return {name: amount / speed for name, (amount, speed) in speeds.items() if speed}
