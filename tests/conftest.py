"""Functions of these rooms are checked against their annotations as they are called, the shapes of arrays included."""

from jaxtyping import install_import_hook

import tests.typechecks  # noqa: F401  (named in the hook as text)

install_import_hook(
    ["rrft_jax.losses", "rrft_jax.rollout"],
    "tests.typechecks.check",
)
