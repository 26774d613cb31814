"""Counts the products of a compiled program in its optimised text, loops and branches as often as they run."""

import math
import re

from rrft_jax.planning.hlo import CompiledText, Instruction


def dot_flops(text: str, unknown_trips: int = 1) -> float:
    """2 m n k over all dots that run; a loop whose count the text does not say runs `unknown_trips` times."""
    program = CompiledText(text, while_trips=unknown_trips)
    return sum(
        program.runs[name] * _flops(i, body)
        for name, body in program.computations.items()
        for i in body.values()
        if i.opcode == "dot"
    )


def _flops(dot: Instruction, body: dict[str, Instruction]) -> float:
    contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", dot.rest)[1]
    left = body[dot.operands[0]].arrays[0].shape
    return 2.0 * math.prod(dot.arrays[0].shape) * math.prod(left[int(k)] for k in contracted.split(",") if k)
