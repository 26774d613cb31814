"""Two orders of computing one thing differ by rounding: by how much on this machine, and whether that is all.

The instruction set, the number of threads and that of devices decide in which order XLA sums, so a tolerance near
rounding that holds on one machine fails on the next. `rounding` measures it where the test runs: it moves every number
that goes in to a neighbouring float, which is the error that any order makes in every operation, and sees how far the
results move. The depth of the model, the length of its sums and what cancels in them are so accounted for, per leaf.

The bound is FACTOR = 8 times that. On AVX-512, AVX2 and SSE4.2, with one thread and with two, with one device and with
eight, correct orders differed by up to 2.6 times. Relative to the largest number of a leaf the bound is about 1e-6 to
1e-5; one masked token too many, a missing scale or a mean over padding move a leaf by 1e-3 and more.
"""

import jax
import jax.numpy as jnp
import numpy as np

FACTOR = 8
EPS = float(np.finfo(np.float32).eps)


def moved(tree, seed=0):
    """`tree` with every float at its neighbour above, its neighbour below, or as it is; other leaves as they are."""
    rng = np.random.default_rng(seed)

    def one(x):
        if not is_float(x):
            return x
        x = np.asarray(x)
        towards = rng.choice(np.array([-np.inf, 0, np.inf], x.dtype), x.shape)
        return np.where((towards == 0) | (x == 0) | ~np.isfinite(x), x, np.nextafter(x, towards))

    return jax.tree.map(one, tree)


def rounding(f, *inputs, times=8):
    """Tree of floats, one for every leaf of f(*inputs): the most that a number in it changes when all inputs move.

    f: jitted, or this takes long; it gets NumPy arrays. times: how often they are moved, every time in another way.
    Tokens, masks and other leaves that are not floats must stay as they are.
    """
    exact, slack = f(*inputs), None
    for seed in range(times):
        change = jax.tree.map(distance, f(*moved(inputs, seed)), exact)
        slack = change if slack is None else jax.tree.map(max, slack, change)
    return slack


def assert_same_but_rounding(ours, theirs, slack):
    """Every leaf of `ours` is within FACTOR times its `slack` (from `rounding`) of `theirs`; other types are equal.

    To the slack comes one unit in the last place of the leaf's largest number, for what no input moves.
    """
    (flat, tree), (others, other_tree) = map(jax.tree_util.tree_flatten_with_path, (ours, theirs))
    slack, slack_tree = jax.tree.flatten(slack)
    assert tree == other_tree == slack_tree, f"{tree}, {other_tree}, {slack_tree}"
    for (path, x), (_, y), least in zip(flat, others, slack, strict=True):
        name = jax.tree_util.keystr(path)
        assert np.shape(x) == np.shape(y), f"{name}: {np.shape(x)}, {np.shape(y)}"
        if not is_float(x):
            np.testing.assert_array_equal(x, y, err_msg=name)
            continue
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        atol = least + EPS * np.max(np.abs(y), initial=0, where=np.isfinite(y))
        np.testing.assert_allclose(x, y, rtol=0, atol=FACTOR * atol, err_msg=name)


def is_float(x):
    return jnp.issubdtype(jnp.result_type(x), jnp.floating)


def distance(x, y):
    """The largest difference of two arrays, 0 where both are the same infinity or NaN."""
    if not is_float(x):
        np.testing.assert_array_equal(x, y, err_msg="moving the inputs by rounding changes a leaf that is not float")
        return 0.0
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    with np.errstate(invalid="ignore"):
        return float(np.max(np.where((x == y) | np.isnan(x) & np.isnan(y), 0, np.abs(x - y)), initial=0))
