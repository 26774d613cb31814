"""Splitting a parameter tree into what is trained and what is frozen."""

import re
from collections.abc import Sequence

from rrft_jax.models.qwen2_vl.weights import from_paths, leaf_paths


def partition(params: dict, freeze: Sequence[str]) -> tuple[dict, dict]:
    """(trainable, frozen): leaves whose '/'-joined path matches one of the regular expressions are frozen.

    Raises ValueError for a pattern that matches nothing, and when nothing is left to train.
    """
    leaves = leaf_paths(params)
    for pattern in freeze:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"config.train.freeze: {pattern!r} is not a regular expression ({error})") from error
    frozen = {path for path in leaves for pattern in freeze if re.search(pattern, path)}
    for pattern in freeze:
        if not any(re.search(pattern, path) for path in leaves):
            raise ValueError(
                f"config.train.freeze: {pattern!r} matches no parameter; paths look like {next(iter(leaves))}"
            )
    if len(frozen) == len(leaves):
        raise ValueError(f"config.train.freeze: {list(freeze)} freezes every parameter, nothing is left to train")
    return (
        from_paths({p: x for p, x in leaves.items() if p not in frozen}),
        from_paths({p: x for p, x in leaves.items() if p in frozen}),
    )


def combine(trainable: dict, frozen: dict) -> dict:
    """The whole tree again."""
    return from_paths({**leaf_paths(trainable), **leaf_paths(frozen)})


def parameter_count(tree: dict) -> int:
    """How many numbers the leaves hold; shapes alone will do."""
    return sum(leaf.size for leaf in leaf_paths(tree).values())
