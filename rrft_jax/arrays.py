"""The array types of annotations. The letters of their shapes are those of the docstrings, B G P C I L D H K A V.

The tests check annotations of `models`, `rollout`, `losses` and `training` as functions are called; nothing else does.
"""

import jax
import numpy as np

HostOrDevice = jax.Array | np.ndarray
