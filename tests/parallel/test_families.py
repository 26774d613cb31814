"""Models of every family on eight fake devices give what one device gives: log-probabilities and gradients.

In an own process: the number of CPU devices is fixed at start.
"""

import pytest

from tests.devices import run_on_devices
from tests.models.families import FIELDS

SAME_NUMBERS = """
import sys, tempfile
import jax, jax.numpy as jnp, numpy as np
from rrft_jax.models import quantized
from rrft_jax.models.paths import leaf_paths
from rrft_jax.models.registry import family_of, make_model
from rrft_jax.models.score import score
from rrft_jax.models.sharding import tree_shardings
from rrft_jax.models.weights import load_sharded, save_params
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.parallel.placement import to_devices
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.models.build import quick_jit, random_completions, select_prompts, tiny_params
from tests.models.families import tiny
from tests.models.test_families import prompts_for

sizes = tiny(sys.argv[1])
model, params = make_model(sizes), tiny_params(sizes)
prompts = select_prompts(prompts_for(sizes), [0, 1, 2, 0, 1, 2, 0, 1])
tokens, mask = random_completions(1, 8, 2, 4)

def objective(params, prompts, tokens, mask):
    log_probs, _ = score(model, params, prompts, tokens, mask, None)
    log_probs = jnp.where(mask, log_probs, 0)
    return jnp.sum(log_probs), log_probs

f = quick_jit(jax.value_and_grad(objective, has_aux=True))
expected, slack = f(params, prompts, tokens, mask), rounding(f, params, prompts, tokens, mask, times=4)
for preset in ("data", "fsdp+tensor"):  # both axes of the rules at once; test_presets.py has fsdp alone
    mesh = make_mesh(preset=preset, kv_heads=sizes.num_kv_heads)
    shardings = tree_shardings(params, mesh, family_of(sizes).param_axes)
    with jax.set_mesh(mesh):
        ours = f(jax.device_put(params, shardings), *to_devices((prompts, tokens, mask), mesh))
    assert_same_but_rounding(ours, expected, slack)

# Kernels in 4 bits, read onto each mesh.
kept = {path: quantized.dtype_of(path, "nf4") for path in leaf_paths(params)}
f = quick_jit(lambda *a: objective(*a)[1])
with tempfile.TemporaryDirectory() as folder:
    save_params(folder, sizes, params, "float32")
    load = lambda mesh: load_sharded(folder, sizes, mesh, kept)
    expected = f(load(make_mesh(devices=jax.devices()[:1])), prompts, tokens, mask)
    mesh = make_mesh(preset="fsdp+tensor", kv_heads=sizes.num_kv_heads)
    with jax.set_mesh(mesh):
        ours = f(load(mesh), *to_devices((prompts, tokens, mask), mesh))
    assert_same_but_rounding(ours, expected, slack[0][1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("model_type", FIELDS)
def test_every_preset_gives_the_numbers_of_one_device(model_type):
    run_on_devices(SAME_NUMBERS, model_type)
