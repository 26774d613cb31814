"""Functions of these rooms are checked against their annotations as they are called, the shapes of arrays included.

Hypothesis has no limit of time, for an example takes ten times as long on a busy machine.
"""

from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

import tests.typechecks  # noqa: F401  (named in the hook as text)

# Of training the files whose functions take and return arrays: tests drive the loop and its feeds with stand-ins.
ARRAYS = ("batches", "held_out", "minibatches", "optimizer", "parameters", "programs", "rewarding", "step")
install_import_hook(
    ["rrft_jax.losses", "rrft_jax.models", "rrft_jax.rollout", *(f"rrft_jax.training.{name}" for name in ARRAYS)],
    "tests.typechecks.check",
)

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
