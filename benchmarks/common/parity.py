"""Programs that disagree are not compared: this module checks the sides' reports against each other."""

from collections.abc import Mapping, Sequence


def relative(ours: float, peers: float) -> float:
    """The difference as a part of the peer's figure."""
    return abs(ours - peers) / max(abs(peers), 1e-30)


def within(differences: Mapping[str, float], limits: Mapping[str, float]) -> dict[str, float]:
    """The differences; SystemExit in one line that names those above their limit, or not a number."""
    over = [
        f"{name} differs by {differences[name]:.2e}, more than {limit:.0e}"
        for name, limit in limits.items()
        if not differences[name] <= limit
    ]
    if over:
        raise SystemExit(f"the sides disagree, nothing was timed: {', '.join(over)}")
    return dict(differences)


def same_tokens(what: str, ours: Sequence[int], peers: Sequence[int]) -> None:
    """SystemExit in one line where the tokens differ: how many of them, and which is the first."""
    if len(ours) != len(peers):
        raise SystemExit(f"the sides disagree, nothing was timed: {what} has {len(ours)} tokens, not {len(peers)}")
    if other := [k for k, (a, b) in enumerate(zip(ours, peers, strict=True)) if a != b]:
        k = other[0]
        raise SystemExit(
            f"the sides disagree, nothing was timed: {what} differs in {len(other)} of {len(ours)} tokens, "
            f"the first is number {k}, {ours[k]} and not {peers[k]}"
        )
