"""Eight devices draw the tokens of one. Own process: the number of CPU devices is fixed at start."""

from tests.devices import run_on_devices

PROGRAM = """
import jax, numpy as np
from dataclasses import replace
from rrft_jax.models.sharding import PARAM_AXES, tree_shardings
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.parallel.placement import to_devices
from tests.helpers.rounding import assert_same_but_rounding
from tests.helpers.rounding import rounding
from tests.models.build import random_prompts, select_prompts
from tests.rollout.reference import make_sampler, random_params
prompts = replace(select_prompts(random_prompts(), [0, 1, 2] * 2 + [0, 1]), prompt_id=np.arange(8, dtype=np.int32))
params, key = random_params(), jax.random.key(4)
options = dict(group=2, length=8)
program = make_sampler(**options)
one, slack = program(params, prompts, key), rounding(program, params, prompts, key)
assert one.finished.any() and not one.finished.all()
for axes, compact in (((8, 1, 1), 0), ((2, 2, 2), 0), ((2, 2, 2), 4)):
    mesh = make_mesh(*axes)
    with jax.set_mesh(mesh):
        placed = jax.device_put(params, tree_shardings(params, mesh, PARAM_AXES))
        many = make_sampler(**options, compact=compact)(placed, to_devices(prompts, mesh), key)
    assert_same_but_rounding(many, one, slack)
"""


def test_same_tokens_on_one_and_on_eight_devices():
    run_on_devices(PROGRAM)
