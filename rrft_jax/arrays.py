"""The array types of annotations. The letters of their shapes are those of the docstrings, B G P C I L D H K A V.

The tests check annotations of `losses` and `rollout` as functions are called (tests/conftest.py); nothing else does.
"""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

if TYPE_CHECKING:
    HostOrDevice = Any  # stubs of the two disagree on what operators and methods give
else:
    HostOrDevice = jax.Array | np.ndarray
