"""Every preset on eight fake devices gives what one device gives: losses, gradients, and the tokens of three steps.

In own processes: the number of CPU devices is fixed at start.
"""

import pytest

from tests.devices import run_on_devices

PRELUDE = """
from dataclasses import replace
from functools import partial
import jax, jax.numpy as jnp, numpy as np, optax
from rrft_jax.losses import Targets, grpo_loss, sft_loss
from rrft_jax.losses.advantages import group_advantages
from rrft_jax.models.sharding import PARAM_AXES, tree_shardings
from rrft_jax.parallel.layout import plan
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.rollout.decoder import Decoder
from rrft_jax.rollout.sampler import sample
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.training.step import Batch, make_forward
from rrft_jax.parallel.placement import to_devices
from rrft_jax.training.step import init_state, make_gradient, make_train_step
from rrft_jax.training.parameters import combine
from rrft_jax.models.paths import from_paths
from tests.helpers.rounding import assert_same_but_rounding
from tests.helpers.rounding import rounding
from tests.models.test_lora import random_adapter, split
from tests.models.build import TINY, quick_jit, random_prompts, select_prompts
from tests.rollout.reference import EOS, ALLOWED, MODEL, PAD, random_params
from tests.training.problems import GRPO, example_batch

ALLOWED = jnp.asarray(ALLOWED)
LOSSES = {"sft": sft_loss, "grpo": partial(grpo_loss, config=GRPO)}
# name -> trainable and frozen parameters.
lora, scales = split(random_adapter())
VARIANTS = {"full": (random_params(), {}), "lora": (lora, combine(random_params(), from_paths(scales)))}
forward = make_forward(MODEL, ALLOWED, chunk=2)

def put(tree, mesh):
    return jax.device_put(tree, tree_shardings(tree, mesh, PARAM_AXES))

def host(tree):
    return jax.tree.map(np.asarray, tree)
"""

SAME_NUMBERS = """
def gradients(place):
    # Adapters by GRPO are in three_steps.
    for kind, name in (("full", "grpo"), ("lora", "sft")):
        trainable, frozen = VARIANTS[kind]
        yield kind, quick_jit(make_gradient(forward, LOSSES[name])), place(trainable), place(frozen)

optimizer = optax.sgd(0.5)
draw = quick_jit(partial(sample, Decoder(MODEL, ALLOWED, EOS, PAD, length=6), group=4))
step = quick_jit(make_train_step(forward, LOSSES["grpo"], optimizer, lambda t: 0.5))

def three_steps(variants, place=lambda x: x, seen=lambda x: x):
    # [(tokens, norm of the gradient) of every step of every variant]
    out = []
    for trainable, frozen in variants.values():
        state = init_state(place(trainable), optimizer)
        frozen = place(frozen)
        for t in range(3):
            prompts = seen(questions(t))
            params = combine(state["params"], frozen)
            rollouts = draw(params, prompts, jax.random.fold_in(jax.random.key(1), t))
            tokens = np.asarray(rollouts.tokens)
            # A reward that every token matters to and that needs no text.
            rewards = np.where(np.asarray(rollouts.mask), tokens % 7, 0).sum(-1).astype(np.float32)
            advantages = np.asarray(group_advantages(jnp.asarray(rewards))[0])
            mask = np.asarray(rollouts.mask)
            targets = Targets(mask, np.ones_like(rewards), advantages, None, np.asarray(rollouts.log_probs))
            state, metrics = step(state, frozen, seen(Batch(prompts, tokens, mask, targets)))
            out.append((tokens, metrics["grad_norm"]))
    return out

def questions(t):
    rows = select_prompts(random_prompts(t), [0, 1, 2, 3, 0, 1, 2, 3])
    return replace(rows, prompt_id=np.arange(8 * t, 8 * t + 8, dtype=np.int32))

same = lambda x: x
expected, slack = {}, {}
for name, f, *parameters in gradients(same):
    expected[name] = host(f(*parameters, example_batch()))
    slack[name] = rounding(f, *parameters, example_batch())
steps, steps_slack = three_steps(VARIANTS), rounding(three_steps, VARIANTS)
assert not np.array_equal(steps[1][0], steps[2][0])
SIZES = {"data": (8, 1, 1), "fsdp": (1, 8, 1), "fsdp+tensor": (1, 4, 2)}
for preset, sizes in SIZES.items():
    mesh = make_mesh(preset=preset, kv_heads=TINY.num_kv_heads)
    assert tuple(mesh.shape.values()) == sizes, mesh
    placed, on_mesh = partial(put, mesh=mesh), partial(to_devices, mesh=mesh)
    kernel = placed(random_params())["language"]["layers"]["gate"]["kernel"]
    assert {s.data.size for s in kernel.addressable_shards} == {kernel.size // (sizes[1] * sizes[2])}
    with jax.set_mesh(mesh):
        for name, f, *parameters in gradients(placed):
            ours = f(*parameters, on_mesh(example_batch()))
            assert_same_but_rounding(ours, expected[name], slack[name])
        assert_same_but_rounding(three_steps(VARIANTS, placed, on_mesh), steps, steps_slack)
"""

SPLIT_AND_PADDED = """
def rollouts_of(prompts, first, group):
    draw = partial(sample, Decoder(MODEL, ALLOWED, EOS, PAD, length=6), group=group)
    jitted = quick_jit(lambda params, prompts, key, first: draw(params, prompts, key, first_member=first))
    return jitted(random_params(), prompts, jax.random.key(1), first)

f = quick_jit(make_gradient(forward, LOSSES["grpo"]))

def loss_of(batch):
    return host(f(random_params(), {}, batch))

mesh = make_mesh(preset="data")
for B, G, rows, split in ((2, 8, 8, 4), (3, 4, 8, 2), (14, 2, 16, 1)):
    questions = select_prompts(random_prompts(), np.arange(B) % 4)
    questions = replace(questions, prompt_id=np.arange(B, dtype=np.int32))
    rng = np.random.default_rng(B)
    advantages = rng.normal(size=(B, G)).astype(np.float32)
    one = host(rollouts_of(questions, None, G))
    def batch_of(prompts, r, advantages, weight):
        old = np.where(r.mask, r.log_probs - 0.1, 0)  # so that the ratio is not 1 everywhere
        return Batch(prompts, r.tokens, r.mask, Targets(r.mask, weight, advantages, old, r.log_probs - 0.2))
    whole = batch_of(questions, one, advantages, np.ones((B, G), np.float32))
    expected, slack = loss_of(whole), rounding(f, random_params(), {}, whole)

    layout = plan(mesh, B, G)
    assert (layout.rows, layout.split) == (rows, split), layout
    g = G // split
    live = layout.prompt_of < B
    spread = select_prompts(questions, layout.prompt_of % B)
    weight = np.broadcast_to(live[:, None], (rows, g)).astype(np.float32)
    parts = np.full((rows, g), 7.0, np.float32)
    parts[live] = advantages.reshape(-1, g)
    with jax.set_mesh(mesh):
        many = host(rollouts_of(to_devices(spread, mesh), to_devices(layout.first_member(G), mesh), g))
        np.testing.assert_array_equal(many.tokens[live].reshape(one.tokens.shape), one.tokens)
        ours = loss_of(to_devices(batch_of(spread, many, parts, weight), mesh))
    assert_same_but_rounding(ours, expected, slack)
"""

REFUSED = """
import logging
for settings, words in (
    (dict(preset="fsdp+tensors"), "config.mesh.preset='fsdp+tensors': choose one of data, fsdp, fsdp+tensor"),
    (dict(preset="fsdp", tensor=2), "both given"),
    (dict(tensor=4), "config.mesh.tensor=4 must divide the 2 key-value heads of the model: give 1 or 2"),
    (dict(data=-1, fsdp=-1), "only one axis can be -1"),
    (dict(data=4), "needs 4 devices, but there are 8"),
):
    try:
        make_mesh(**settings, kv_heads=2)
    except ValueError as error:
        assert words in str(error), error
    else:
        raise AssertionError(settings)
assert tuple(make_mesh(data=2, fsdp=-1, tensor=2).shape.values()) == (2, 2, 2)
said = []
listener = logging.Handler()
listener.emit = lambda record: said.append(record.getMessage())
logging.getLogger("rrft_jax").addHandler(listener)
mesh = make_mesh(data=1, fsdp=4, tensor=2, kv_heads=2)
for _ in range(2):
    tree_shardings({"mu": random_params(), "nu": random_params()}, mesh, PARAM_AXES)
    tree_shardings(random_params(), mesh, PARAM_AXES)
table = [m for m in said if m.startswith("language/embed/embedding ")]
assert len(table) == 1 and "vocab of 61 does not divide over 2 devices" in table[0], said
assert len(said) == len(set(said))
"""


def run_on_eight(program):
    run_on_devices(PRELUDE + program)


@pytest.mark.slow
def test_every_preset_gives_the_numbers_of_one_device():
    run_on_eight(SAME_NUMBERS)


@pytest.mark.slow
def test_split_groups_and_padding_change_nothing():
    run_on_eight(SPLIT_AND_PADDED)


def test_meshes_that_are_refused_and_rules_that_cannot_apply():
    run_on_eight(REFUSED)
