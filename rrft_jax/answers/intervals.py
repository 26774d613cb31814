"""Inequalities as intervals: 1 <= x < 3, and x >= 1 and x < 3, are [1, 3)."""

from rrft_jax.answers.expression import Node
from rrft_jax.answers.measures import is_numeric
from rrft_jax.answers.statement import Statement

INTERVALS = frozenset({"()", "[]", "[)", "(]"})
_INFINITY: Node = ("letter", "infinity")


def interval(statement: Statement) -> Statement | None:
    """Where inequalities of one letter keep it; None of what says anything else."""
    relations = statement.parts if statement.kind == "list" else (statement,)
    if any(one.kind != "relation" for one in relations):
        return None
    ends: dict[str, tuple[str, Node]] = {}
    names = set()
    for parts in (one.parts for one in relations):
        for left, sign, right in zip(parts[::2], parts[1::2], parts[2::2], strict=False):
            small, large = (right, left) if sign[0] == ">" else (left, right)
            name, end, side = (large, small, "low") if _is_name(large) else (small, large, "high")
            if sign == "!=" or side in ends or not _is_name(name) or not _is_number(end):
                return None
            names.add(name)
            ends[side] = (sign, end)
    if len(names) != 1:
        return None
    (below, low), (above, high) = ends.get("low", ("<", ("neg", _INFINITY))), ends.get("high", ("<", _INFINITY))
    kind = ("[" if "=" in below else "(") + ("]" if "=" in above else ")")
    return Statement(kind, (Statement("value", (low,)), Statement("value", (high,))))


def _is_name(node: Node) -> bool:
    return node[0] == "letter" and not _is_number(node)


def _is_number(node: Node) -> bool:
    return is_numeric(node) or node in (_INFINITY, ("neg", _INFINITY))
