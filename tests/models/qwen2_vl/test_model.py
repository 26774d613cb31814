"""Properties of the model that hold whatever the weights are; that it is Qwen2-VL is shown in test_parity.py."""

import functools
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrft_jax.models import language
from rrft_jax.models.cache import completion_positions
from rrft_jax.models.head import target_log_probs, token_log_probs
from rrft_jax.models.qwen2_vl.model import Qwen2VL
from rrft_jax.models.score import score
from rrft_jax.models.weights import abstract_params
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.models.build import (
    TINY,
    pack,
    quick_jit,
    random_completions,
    random_prompts,
    select_prompts,
    tiny_params,
)

G, C = 3, 5
MODEL = Qwen2VL(TINY)


def make_objective(model=MODEL, chunk=4):
    """objective(params, prompts, tokens, mask, weights) -> (a number every token matters to, (log_probs, entropy))."""

    def objective(params, prompts, tokens, mask, weights):
        log_probs, entropy = score(model, params, prompts, tokens, mask, None, chunk=chunk)
        value = jnp.sum(jnp.where(mask, weights * (log_probs + 0.1 * entropy), 0.0))
        return value, (jnp.where(mask, log_probs, 0.0), jnp.where(mask, entropy, 0.0))

    return objective


def make_gradient(**model_args):
    """f(*problem()) -> ((value, (log_probs, entropy) at real tokens, 0 elsewhere), gradient)."""
    return quick_jit(jax.value_and_grad(make_objective(Qwen2VL(TINY, **model_args)), has_aux=True))


def value_and_grad(*args, **model_args):
    return make_gradient(**model_args)(*args)


@functools.cache
def problem():
    prompts = random_prompts()
    tokens, mask = random_completions(1, len(prompts.tokens), G, C)
    weights = np.random.default_rng(2).normal(size=tokens.shape).astype(np.float32)
    return tiny_params(), prompts, tokens, mask, weights


@functools.cache
def solution():
    """What `make_gradient` gives, and by how much rounding may move it."""
    gradient = make_gradient()
    return gradient(*problem()), rounding(gradient, *problem())


def assert_same(found):
    """Value, scores and gradients are those of `problem` but for rounding."""
    (value, scores), grads = found
    scores = tuple(x.reshape(*problem()[3].shape[:2], -1)[..., :C] for x in scores)
    assert_same_but_rounding(((value, scores), grads), *solution())


def test_gradients_reach_every_parameter():
    (_, grads), _ = solution()
    dead = [
        jax.tree_util.keystr(path)
        for path, g in jax.tree_util.tree_flatten_with_path(grads)[0]
        if not float(jnp.max(jnp.abs(g))) > 0
    ]
    assert not dead


def test_a_shared_prompt_equals_a_repeated_one():
    params, prompts, *completions = problem()
    repeated = select_prompts(prompts, np.repeat(np.arange(len(prompts.tokens)), G))
    alone = [x.reshape(-1, 1, C) for x in completions]
    assert_same(value_and_grad(params, repeated, *alone))


def test_more_padding_changes_nothing():
    """More of P, C, I and n; and images in other slots, with empty ones before and between them."""
    params, _, *completions = problem()
    prompts = random_prompts(extra=(3, 1, 4), skip=(0, 2))
    longer = [np.pad(x, ((0, 0), (0, 0), (0, 2))) for x in completions]
    assert_same(value_and_grad(params, prompts, *longer))


@pytest.mark.parametrize("remat", ["full", *(pytest.param(x, marks=pytest.mark.slow) for x in ("dots", "offload"))])
def test_recomputation_does_not_change_the_gradient(remat):
    assert_same(value_and_grad(*problem(), remat=remat))


def test_a_last_layer_for_one_token_gives_what_it_gives_for_all(monkeypatch):
    """On one device it computes of a prompt's tokens the last one's output alone; on several, all of them."""
    params, prompts, *_ = problem()
    last_alone = quick_jit(lambda p, x: MODEL.prefix_of(p, x))
    prefix, slack = last_alone(params, prompts), rounding(last_alone, params, prompts)
    every = quick_jit(lambda p, x: MODEL.prefill(p, x)[0])(params, prompts)
    last = prompts.token_mask.sum(-1) - 1
    assert_same_but_rounding(prefix.last_hidden, every[np.arange(len(last)), last], slack.last_hidden)
    monkeypatch.setattr(language, "on_one_device", lambda: False)
    assert_same(value_and_grad(*problem()))
    whole = quick_jit(lambda p, x: MODEL.prefix_of(p, x))(params, prompts)
    assert_same_but_rounding(prefix, whole, slack)


def test_decoding_token_by_token_equals_scoring():
    params, prompts, tokens, mask, _ = problem()
    B = len(tokens)

    @quick_jit
    def decode(params, prompts, tokens, mask):
        prefix = MODEL.prefix_of(params, prompts)
        first = jnp.broadcast_to(prefix.last_hidden[:, None], (B, G, TINY.hidden_size))

        def step(carry, t):
            hidden, suffix = carry
            at = lambda x: jax.lax.dynamic_slice_in_dim(x, t, 1, axis=2)  # noqa: E731
            positions = completion_positions(prefix.next_position + t, G, 1)
            new, suffix = MODEL.extend(params, at(tokens), positions, at(mask), prefix, suffix, write_index=t)
            return (new[:, :, 0], suffix), hidden

        _, hidden = jax.lax.scan(step, (first, MODEL.empty_suffix(B, G, C)), jnp.arange(C))
        scores = token_log_probs(jnp.moveaxis(hidden, 0, 2), MODEL.output_table(params), tokens)
        return jax.tree.map(lambda x: jnp.where(mask, x, 0.0), scores)

    ((_, expected), _), ((_, slack), _) = solution()
    assert_same_but_rounding(decode(params, prompts, tokens, mask), expected, slack)


def test_a_batch_without_images_needs_no_slots():
    """The text-only row alone, with I = 0, is scored as it was beside rows with images."""
    params, prompts, tokens, mask, _ = problem()
    rows = np.flatnonzero(~prompts.patch_mask.any((1, 2)))
    assert len(rows) == 1
    alone = select_prompts(prompts, rows)
    alone = replace(
        alone,
        patches=alone.patches[:, :0],
        patch_mask=alone.patch_mask[:, :0],
        patch_position=alone.patch_position[:, :0],
    )
    ((_, (expected, _)), _), ((_, (slack, _)), _) = solution()
    log_probs, _ = quick_jit(lambda *a: score(MODEL, *a, None))(params, alone, tokens[rows], mask[rows])
    assert_same_but_rounding(np.where(mask[rows], log_probs, 0), expected[rows], slack)


def test_bfloat16_is_close_to_float32():
    params, prompts, tokens, mask, _ = problem()
    model = Qwen2VL(TINY, dtype="bfloat16")
    log_probs, entropy = quick_jit(lambda *a: score(model, *a, None))(params, prompts, tokens, mask)
    ((_, (expected, _)), _), _ = solution()
    assert log_probs.dtype == entropy.dtype == jnp.float32
    error = np.abs(log_probs - expected)[mask]
    assert 1e-4 < error.max() < 0.5 and error.mean() < 0.05


@pytest.mark.parametrize("chunk", [1, 3, 7, 50])
def test_the_chunk_size_does_not_change_log_probs(chunk):
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(2, 3, 7, 16)).astype(np.float32)
    table = rng.normal(size=(23, 16)).astype(np.float32)
    targets = rng.integers(0, 23, (2, 3, 7))
    allowed = rng.random(23) < 0.7
    allowed[targets] = True
    z = np.where(allowed, hidden @ table.T / 0.7, -np.inf).astype(np.float64)
    log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
    expected = np.take_along_axis(log_p, targets[..., None], -1)[..., 0]
    expected_entropy = -(np.exp(log_p) * np.where(allowed, log_p, 0)).sum(-1)
    f = jax.jit(lambda hidden, table: token_log_probs(hidden, table, targets, allowed, temperature=0.7, chunk=chunk))
    assert_same_but_rounding(f(hidden, table), (expected, expected_entropy), rounding(f, hidden, table))


def test_a_forbidden_target_and_huge_logits_stay_finite():
    z = jnp.array([[1e4, -1e4, 0.0], [-1e30, 3.0, 3.0]])
    log_prob, entropy = target_log_probs(z, jnp.array([0, 1]))
    np.testing.assert_allclose(log_prob, [0.0, -np.log(2)], atol=1e-6)
    np.testing.assert_allclose(entropy, [0.0, np.log(2)], atol=1e-6)
    gradient = jax.grad(lambda z: target_log_probs(z, jnp.array([0, 0]))[1].sum())(z)
    assert np.isfinite(gradient).all()


def widest_vocabulary(text, V):
    """The most elements any float32 array with an axis of length V has, in StableHLO or compiled HLO, over V."""
    shapes = re.findall(r"f32\[([\d,]+)\]", text) + [s.replace("x", ",") for s in re.findall(r"<([\dx]+)xf32>", text)]
    sizes = [[int(d) for d in shape.split(",")] for shape in shapes]
    return max(int(np.prod(size)) // V for size in sizes if V in size)


def test_logits_never_exist_for_a_whole_sequence():
    """V is prime, so that its arrays can be told from all others in the program of scores and gradients."""
    V, length, chunk = 1009, 12, 4
    config = replace(TINY, vocab_size=V)
    prompts = pack([[[1, 2, 3]], [[4, 5]]], [[], []])
    tokens, mask = random_completions(0, 2, G, length)
    arguments = (abstract_params(config), prompts, tokens, mask, np.ones(tokens.shape, np.float32))

    def lowered(chunk):
        return quick_jit(jax.grad(make_objective(Qwen2VL(config), chunk), has_aux=True)).lower(*arguments)

    allowed = max(TINY.hidden_size, 2 * G * chunk)  # the embedding itself, or one chunk
    assert widest_vocabulary(lowered(chunk).compile().as_text(), V) == allowed
    assert widest_vocabulary(lowered(length).as_text(), V) == 2 * G * length  # the measure does see them


@pytest.mark.parametrize(("field", "value"), [("remat", "all"), ("dtype", "float16")])
def test_an_unknown_option_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"model.{field}='{value}'"):
        Qwen2VL(TINY, **{field: value})
