"""Parameters by path: '/'-joined keys of the tree, such as 'language/layers/q/kernel'."""

from collections.abc import Mapping
from typing import Any

import jax


def leaf_paths(tree: Mapping) -> dict[str, Any]:
    """'/'-joined path -> leaf."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {"/".join(k.key for k in path): leaf for path, leaf in flat}


def from_paths(leaves: Mapping) -> dict:
    tree: dict = {}
    for path, leaf in leaves.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree
