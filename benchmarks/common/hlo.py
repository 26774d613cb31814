"""Counts the products of a compiled program from its optimised HLO text, loops as often as they run."""

import math
import re

_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_SHAPE = re.compile(r"^\(?\w+\[([\d,]*)\]")
_OPERAND = re.compile(r"\bdot\((?:\w+\[[\d,]*\]\S* )?%?([\w.\-]+)")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"(?:true_computation|false_computation)=%?([\w.\-]+)|branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'known_trip_count":\{"n":"(\d+)"')


def _dims(text: str) -> list[int]:
    found = _SHAPE.match(text)
    return [int(x) for x in found.group(1).split(",") if x] if found else []


def dot_flops(text: str, unknown_trips: int = 1) -> float:
    """2 m n k over all dots that run; a loop whose count the compiler does not know runs `unknown_trips` times.

    Of two branches the cheaper one runs in one round of the loop around them, as the prompt's last layer does.
    """
    own: dict[str, float] = {}
    calls: dict[str, list[tuple[str, int]]] = {}
    choices: dict[str, list[list[str]]] = {}
    shapes: dict[str, list[int]] = {}
    name = entry = None
    for line in text.splitlines():
        if found := _COMPUTATION.match(line):
            name = found.group(1)
            own[name], calls[name], choices[name], shapes = 0.0, [], [], {}
            if line.startswith("ENTRY"):
                entry = name
            continue
        if name is None or not (found := _INSTRUCTION.match(line)):
            continue
        target, rest = found.groups()
        shapes[target] = _dims(rest)
        if operand := _OPERAND.search(rest):
            contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", rest).group(1)
            inline = re.search(r"\bdot\((\w+\[[\d,]*\])", rest)
            left = _dims(inline.group(1)) if inline else shapes[operand.group(1)]
            inner = math.prod(left[int(k)] for k in contracted.split(",") if k)
            own[name] += 2.0 * math.prod(shapes[target]) * inner
        trips = 1
        if re.search(r"\bwhile\(", rest):
            known = _TRIPS.search(rest)
            trips = int(known.group(1)) if known else unknown_trips
        calls[name] += [(called, trips) for called in _CALLED.findall(rest)]
        if re.search(r"\bconditional\(", rest):
            found = (one or several for one, several in _BRANCHES.findall(rest))
            choices[name].append([branch.strip(" %") for part in found for branch in part.split(",")])
    if entry is None:
        raise ValueError("no ENTRY computation in this text: pass compiled.as_text()")

    def total(computation: str, rounds: int) -> float:
        inside = sum(
            trips * total(called, trips if trips > 1 else rounds)
            for called, trips in calls[computation]
            if called in own
        )
        for branches in choices[computation]:
            each = [total(branch, rounds) for branch in branches]
            inside += (max(each) * (rounds - 1) + min(each)) / rounds
        return own[computation] + inside

    return total(entry, 1)
