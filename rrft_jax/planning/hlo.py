"""What a compiled program does, read from its text: how often each part runs, collectives, memory traffic, arrays.

XLA's own totals hold a loop's body once; here every loop counts as often as its condition lets it run.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute", "ragged-all-to-all")
_BITS = {"pred": 8, "s4": 4, "u4": 4, "token": 0, "bf16": 16, "c64": 64, "c128": 128}
# Moves nothing by itself, or is counted where its parts are.
_FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "call", "conditional", "after-all",
    "partition-id", "replica-id", "iota", "opt-barrier", "copy-done", "slice-done", "async-done", "async-update",
    "all-gather-done", "all-reduce-done", "collective-permute-done", "add-dependency", "domain",
}  # fmt: skip
_SLICES = {"dynamic-slice", "slice", "gather"}
_SHAPE = re.compile(r"([a-z]+\d*\w*)\[([\d,]*)\](\{[^}]*\})?")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*?)\s([a-z][a-z\-0-9]*)\((.*)$")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")


@dataclass(frozen=True)
class Array:
    """One array of an instruction's result; on_chip: in the chip's fast memory, so no traffic to the large one."""

    dtype: str
    shape: tuple[int, ...]
    on_chip: bool = False

    @property
    def bytes(self) -> int:
        bits = _BITS.get(self.dtype) or int((re.search(r"\d+", self.dtype) or ["0"])[0])
        return math.prod(self.shape) * bits // 8

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Instruction:
    name: str
    opcode: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    rest: str  # attributes, as written
    root: bool

    @property
    def op_name(self) -> str:
        """Where in the source's functions it comes from."""
        found = re.search(r'op_name="([^"]*)"', self.rest)
        return found[1] if found else ""

    @property
    def bytes(self) -> int:
        return sum(a.bytes for a in self.arrays if not a.on_chip)


@dataclass(frozen=True)
class Collective:
    """All runs of one collective: bytes of its result on one device, group: devices that take part together."""

    kind: str
    shape: str
    bytes: int
    group: int
    runs: float
    in_loop: bool
    op_name: str

    @property
    def moved(self) -> float:
        """Bytes that one device receives over the interconnect in all runs, by the ring algorithms."""
        n = max(self.group, 1)
        share = {"all-reduce": 2 * (n - 1) / n, "reduce-scatter": n - 1, "collective-permute": 1.0}
        return self.runs * self.bytes * share.get(self.kind, (n - 1) / n)


class CompiledText:
    """The text of a compiled module. while_trips: rounds of a loop whose condition is no comparison with a constant
    alone (the decode loop, which may also end early, has both: its constant counts)."""

    def __init__(self, text: str, while_trips: int = 1):
        self.while_trips = while_trips
        self.computations: dict[str, dict[str, Instruction]] = {}
        self.entry = ""
        current: dict[str, Instruction] = {}
        for line in text.splitlines():
            if head := _HEAD.match(line):
                current = self.computations[head[2]] = {}
                self.entry = head[2] if head[1] else self.entry
            elif found := _LINE.match(line):
                current[found[2]] = _instruction(found)

    @cached_property
    def runs(self) -> dict[str, float]:
        """How often each computation runs in one execution of the program. Of two branches in a loop the smaller one
        runs in one of its rounds, as the prompt's last layer does."""
        counts: dict[str, float] = defaultdict(float)

        def visit(name: str, times: float, rounds: int) -> None:
            counts[name] += times
            for instruction in self.computations[name].values():
                callees = [c for c in _called(instruction) if c in self.computations]
                if instruction.opcode == "conditional" and len(callees) == 2 and rounds > 1:
                    smaller, larger = sorted(callees, key=self._size)
                    visit(smaller, times / rounds, 1)
                    visit(larger, times * (1 - 1 / rounds), rounds)
                    continue
                trips = self._trips(instruction, self.computations[name])
                for callee in callees:
                    visit(callee, times * trips, trips if instruction.opcode == "while" else rounds)

        visit(self.entry, 1.0, 1)
        return counts

    def _size(self, name: str) -> int:
        """Bytes of all results of a computation and of those that it calls."""
        own = self.computations[name].values()
        inside = (c for i in own for c in _called(i) if c in self.computations)
        return sum(a.bytes for i in own for a in i.arrays) + sum(map(self._size, inside))

    def _trips(self, instruction: Instruction, body: dict[str, Instruction]) -> int:
        """Rounds of an instruction of `body`: the largest number that its condition compares with, where it is a loop.
        The condition may have it as a constant, or get it in the loop's state. Other constants of a condition (TPUs
        shift bits to agree on a predicate) are no bounds."""
        if instruction.opcode != "while":
            return 1
        known = re.search(r'known_trip_count"?:\{"?n"?:"?(\d+)', instruction.rest)
        if known:
            return int(known[1])
        condition = re.search(r"condition=%?([\w.\-]+)", instruction.rest)
        if condition is None:
            return self.while_trips
        start = body.get(instruction.operands[0])
        limits = [self._number(i, start, body) for i in self._compared(condition[1])]
        return max((n for n in limits if n), default=self.while_trips)

    def _compared(self, name: str) -> Iterator[Instruction]:
        """What this computation compares, by itself or through another one that it calls."""
        inside = self.computations[name]
        for i in inside.values():
            callees = [c for c in _called(i) if c in self.computations]
            if i.opcode == "compare" or any(list(self._compared(c)) for c in callees):
                yield from (inside[o] for o in i.operands if o in inside)

    def _number(self, i: Instruction, start: Instruction | None, body: dict[str, Instruction]) -> int:
        """The integer that an instruction of a condition is at the loop's start; 0 where the text does not say."""
        index = re.search(r"index=(\d+)", i.rest)
        if i.opcode == "get-tuple-element" and index and start is not None and start.opcode == "tuple":
            i = body.get(start.operands[int(index[1])], i)
            if i.opcode == "copy":
                i = body.get(i.operands[0], i)
        found = re.match(r"(\d+)\)", i.rest) if i.opcode == "constant" else None
        return int(found[1]) if found and not i.arrays[0].shape else 0

    @cached_property
    def loops(self) -> set[str]:
        """Computations that run inside a loop's body."""
        found: set[str] = set()

        def visit(name: str, inside: bool) -> None:
            if inside:
                found.add(name)
            for instruction in self.computations[name].values():
                for callee in _called(instruction):
                    if callee in self.computations:
                        visit(callee, inside or instruction.opcode == "while")

        visit(self.entry, False)
        return found

    @cached_property
    def fused(self) -> set[str]:
        """Computations that are one instruction's inside (fusions, reductions), and move nothing of their own."""
        return {
            callee
            for body in self.computations.values()
            for i in body.values()
            if i.opcode not in ("while", "call", "conditional")
            for callee in _called(i)
        }

    def collectives(self) -> list[Collective]:
        """Every collective, the largest mover first. One that is done piece by piece in several fusions, some of them
        perhaps in a loop that it overlaps with, counts as often as the part of it that runs least often."""
        seen: dict[tuple, Collective] = {}
        for name, body in self.computations.items():
            if not (times := self.runs.get(name, 0.0)):
                continue
            for i in body.values():
                kind = i.opcode.removesuffix("-start")
                if kind not in COLLECTIVES:
                    continue
                # The result of a -start holds the operand too, and two words of bookkeeping.
                array = max(i.arrays, key=lambda a: a.bytes)
                total = array.bytes if i.opcode.endswith("-start") else sum(a.bytes for a in i.arrays)
                channel = re.search(r"channel_id=(\d+)", i.rest)
                key = (channel[1],) if channel else (name, i.name)
                if key not in seen or seen[key].runs > times:
                    seen[key] = Collective(
                        kind, str(array), total, _group(i.rest), times, name in self.loops, i.op_name
                    )
        return sorted(seen.values(), key=lambda c: -c.moved)

    def traffic(self) -> float:
        """Bytes read from and written to the device's large memory: operands and results of what runs, with the slices
        that a fusion takes of its operands, and in-place updates, at their own size; a collective's result twice. An
        estimate: what a fusion reads several times counts once."""
        total = float(sum(2 * c.runs * c.bytes for c in self.collectives()))
        for name, body in self.computations.items():
            times = self.runs.get(name, 0.0)
            if times and name not in self.fused:
                total += times * sum(self._moved(i, body) for i in body.values())
        return total

    def _moved(self, i: Instruction, body: dict[str, Instruction]) -> int:
        if i.opcode in _FREE or _is_collective(i):
            return 0
        if i.opcode == "slice-start":  # its result: what is sliced, the slice, bookkeeping
            return i.arrays[1].bytes * (2 - i.arrays[1].on_chip)
        if i.opcode in _SLICES:
            return 2 * min((a.bytes for a in i.arrays), default=0)
        if i.opcode == "dynamic-update-slice":
            return 2 * _size(body, i.operands[1])
        inner = self._inside(i)
        if inner is None:
            return (0 if i.opcode.endswith("-start") else i.bytes) + sum(_size(body, o) for o in i.operands)
        sizes = [_size(body, operand) for operand in i.operands]
        read = sum(self._read(inner, k, size) for k, size in enumerate(sizes) if size)
        root = next((j.name for j in inner.values() if j.root), None)
        return read + min(i.bytes, self._written(inner, root) if root else i.bytes)

    def _inside(self, i: Instruction) -> dict[str, Instruction] | None:
        called = _called(i) if i.opcode == "fusion" else []
        return self.computations.get(called[0]) if called else None

    def _read(self, inner: dict[str, Instruction], number: int, size: int) -> int:
        """Bytes that a fusion takes of its operand `number` of `size` bytes: all of it, or the slices it cuts out."""
        name = _parameter(inner, number)
        read, passed = self._reads(inner, name, size) if name else (size, False)
        return size if passed else read

    def _reads(self, inner: dict[str, Instruction], name: str, size: int) -> tuple[int, bool]:
        """Bytes that the users of `name` take of it, and whether it leaves the fusion as its result, unchanged: then
        the users of that take the rest."""
        total, passed = 0, inner[name].root
        for user in (j for j in inner.values() if name in j.operands):
            nested = self._inside(user)
            within = _parameter(nested, user.operands.index(name)) if nested else None
            read, same = self._reads(nested, within, size) if nested and within else (0, user.opcode == "bitcast")
            total += read
            if same:
                read, leaves = self._reads(inner, user.name, size)
                total, passed = total + read, passed or leaves
            elif user.opcode in _SLICES and user.operands[0] == name:
                total += sum(a.bytes for a in user.arrays)
            elif not (
                within or user.opcode == "tuple" or _is_collective(user)
                or user.opcode == "dynamic-update-slice" and user.operands[0] == name
            ):  # fmt: skip
                total += size
        return min(total, size), passed

    def _written(self, inner: dict[str, Instruction], name: str) -> int:
        """Bytes of a fusion's result `name` that are new: an update in place counts as what is updated."""
        j = inner[name]
        nested = self._inside(j)
        if j.opcode == "parameter" or _is_collective(j):
            return 0
        if j.opcode == "tuple":
            return sum(self._written(inner, o) for o in j.operands if o in inner)
        if j.opcode == "bitcast" and j.operands[0] in inner:
            return self._written(inner, j.operands[0])
        if j.opcode == "dynamic-update-slice":
            return sum(a.bytes for a in inner[j.operands[1]].arrays) if j.operands[1] in inner else 0
        if nested is not None:
            root = next((k.name for k in nested.values() if k.root), None)
            return self._written(nested, root) if root else 0
        return sum(a.bytes for a in j.arrays)

    def largest(self, count: int = 8) -> list[tuple[Array, str]]:
        """The largest different arrays that the program makes on one device, with where they come from."""
        found: dict[str, tuple[Array, str]] = {}
        for name, body in self.computations.items():
            if name in self.fused or not self.runs.get(name):
                continue
            for i in body.values():
                if i.opcode in _FREE - {"iota"} or i.opcode in ("fusion", "copy") and not i.arrays:
                    continue
                for a in i.arrays:
                    if str(a) not in found or not found[str(a)][1]:
                        found[str(a)] = (a, i.op_name)
        return sorted(found.values(), key=lambda x: -x[0].bytes)[:count]

    def cycles(self) -> float:
        """Sum of the compiler's own estimates of its fusions, where it states them (TPU); 0 elsewhere."""
        total = 0.0
        for name, body in self.computations.items():
            if name in self.fused or not (times := self.runs.get(name, 0.0)):
                continue
            for i in body.values():
                if found := re.search(r'"estimated_cycles":"(\d+)"', i.rest):
                    total += times * int(found[1])
        return total


def _instruction(found: re.Match) -> Instruction:
    root, name, result, opcode, rest = found.groups()
    arrays = tuple(
        Array(dtype, tuple(int(n) for n in dims.split(",") if n), "S(1)" in (layout or ""))
        for dtype, dims, layout in _SHAPE.findall(result)
    )
    operands = tuple(re.findall(r"%([\w.\-]+)", rest.split("), ")[0].split(", metadata=")[0]))
    return Instruction(name, opcode, arrays, operands, rest, bool(root))


def _parameter(inner: dict[str, Instruction], number: int) -> str | None:
    """The name that a computation gives to its operand `number`."""
    return next((j.name for j in inner.values() if j.opcode == "parameter" and j.rest.startswith(f"{number})")), None)


def _is_collective(i: Instruction) -> bool:
    """Also the bookkeeping of those that are done piece by piece."""
    return i.opcode.removesuffix("-start") in COLLECTIVES or "AsyncCollective" in i.rest


def _called(i: Instruction) -> list[str]:
    if "=%" not in i.rest and "branch_computations" not in i.rest:
        return []
    called = _CALLED.findall(i.rest)
    for group in _BRANCHES.findall(i.rest):
        called += re.findall(r"%?([\w.\-]+)", group)
    return called


def _size(body: dict[str, Instruction], operand: str) -> int:
    return body[operand].bytes if operand in body else 0


def _group(rest: str) -> int:
    """Devices of one replica group, in each of the three ways that XLA writes them."""
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\] ?\{([^}]*)\}", rest):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", mesh[1]))
        return math.prod(int(sizes[a]) for a in re.findall(r"'([^']+)'", mesh[2]))
    if iota := re.search(r"replica_groups=\[([\d,]+)\]<=", rest):
        return int(iota[1].split(",")[-1])
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", rest):
        return len(listed[1].split(","))
    return 2
