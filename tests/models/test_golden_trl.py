"""Log-probabilities, entropies, losses and their gradient norms of batches scored by TRL 1.16.

From pixels: weights, token ids and patches come from the recorded run, everything between is ours.
"""

import json

import jax
import numpy as np
import optax
import pytest

from rrft_jax.losses import Targets, grpo_loss, total
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.qwen2_vl.model import Qwen2VL
from rrft_jax.models.registry import read_config
from rrft_jax.models.weights import load_params
from rrft_jax.training.step import Batch, make_forward, make_gradient
from tests.golden import golden_path, trl_folders
from tests.losses.batches import golden_loss
from tests.models.build import Visual, merge_order, quick_jit, rope_positions, select_prompts

# Recorded rows are shuffled: as they are, each is a group of one; grouped, rows of one prompt share its prefix.
FOLDERS = trl_folders()
MODES = [
    pytest.param(folder, grouped, marks=() if grouped == bool(i % 2) else pytest.mark.slow)
    for i, folder in enumerate(FOLDERS)
    for grouped in (False, True)
]
ATOL = 2e-4


def read(folder):
    recorded = json.loads(golden_path(f"{folder}/losses.json").read_text())
    with np.load(golden_path(f"{folder}/batch.npz")) as arrays:
        return {name: arrays[name] for name in arrays.files}, recorded


def prompts_of(arrays, config):
    """Prompts [rows]: one image each, of any size; recorded prompt ids are padded on the left."""
    B, P = arrays["prompt_ids"].shape
    grids = arrays["image_grid_thw"]
    assert len(grids) == B and (grids[:, 0] == 1).all()
    n = int(grids.prod(1).max())
    out = Prompts(
        prompt_id=np.arange(B, dtype=np.int32),
        tokens=np.zeros((B, P), np.int32),
        token_mask=np.zeros((B, P), bool),
        positions=np.zeros((B, 3, P), np.int32),
        next_position=np.zeros(B, np.int32),
        patches=np.zeros((B, 1, n, arrays["pixel_values"].shape[-1]), np.float32),
        patch_mask=np.zeros((B, 1, n), bool),
        patch_position=np.zeros((B, 1, n, 2), np.int32),
    )
    for b, pixels in enumerate(pixels_of(arrays)):
        _, h, w = grids[b]
        out.patches[b, 0, : h * w], out.patch_mask[b, 0, : h * w] = pixels, True
        out.patch_position[b, 0, : h * w] = merge_order(h, w)
        ids = arrays["prompt_ids"][b][arrays["prompt_mask"][b] > 0]
        at = np.flatnonzero(ids == config.image_token_id)
        segments = [list(ids[: at[0] - 1]), Visual(h, w), list(ids[at[-1] + 2 :])]
        out.tokens[b, : len(ids)] = ids
        out.token_mask[b, : len(ids)] = True
        out.positions[b, :, : len(ids)], out.next_position[b] = rope_positions(segments)
    return out


def pixels_of(arrays):
    """float[n, 1176] of each row's image."""
    return np.split(arrays["pixel_values"], np.cumsum(arrays["image_grid_thw"].prod(1))[:-1])


def groups_of(arrays, grouped):
    """Row numbers int[B, G], -1 where a group is short: rows of one prompt and image belong together."""
    rows = len(arrays["prompt_ids"])
    if not grouped:
        return np.arange(rows)[:, None]
    members = {}
    for row, (ids, pixels) in enumerate(zip(arrays["prompt_ids"], pixels_of(arrays), strict=True)):
        members.setdefault((ids.tobytes(), pixels.tobytes()), []).append(row)
    widest = max(map(len, members.values())) + 1  # one place more, so that every group has padding
    return np.array([m + [-1] * (widest - len(m)) for m in members.values()])


def problem(folder, grouped):
    """(params, forward with full softmax, Batch, groups, recorded)."""
    arrays, recorded = read(folder)
    directory = golden_path(f"{folder}/model")
    config = read_config(directory)
    groups = groups_of(arrays, grouped)
    prompts = prompts_of(arrays, config)
    take = lambda x: np.where(groups[..., None] < 0, 0, x[groups])  # noqa: E731
    prompts = select_prompts(prompts, groups[:, 0])
    targets = Targets(
        loss_mask=take(arrays["completion_mask"]).astype(bool),
        row_weight=(groups >= 0).astype(np.float32),
        advantages=np.where(groups < 0, 0, arrays["advantages"][groups]),
        old_log_probs=take(arrays["old_per_token_logps"]),
        ref_log_probs=take(arrays["ref_per_token_logps"]),
    )
    # Losses are over completions cut to many lengths; the model sees them as they were drawn, up to the first EOS.
    drawn = take(arrays["logps_full_mask"]) != 0
    batch = Batch(prompts, take(arrays["completion_ids"]).astype(np.int32), drawn, targets)
    forward = make_forward(Qwen2VL(config), allowed=None, chunk=8)
    return load_params(directory, config), forward, batch, groups, arrays, recorded


@pytest.mark.parametrize(("folder", "grouped"), MODES)
def test_every_loss_and_gradient_norm(folder, grouped):
    params, forward, batch, groups, arrays, recorded = problem(folder, grouped)
    scores, pull = quick_jit(lambda p, b: jax.vjp(lambda p: forward(p, {}, b), p))(params, batch)
    real, drawn = batch.targets.token_mask(), batch.token_mask
    assert not (real & ~drawn).any() and real.any()
    for ours, name in ((scores.log_probs, "logps"), (scores.entropy, "entropy")):
        for suffix, mask in (("", real), ("_full_mask", drawn)):
            np.testing.assert_allclose(ours[mask], arrays[name + suffix][groups][mask], rtol=0, atol=ATOL)

    configs = [golden_loss(name, recorded) for name in recorded["losses"]]
    loss = lambda s, config: total(grpo_loss(s, batch.targets, config)[0])  # noqa: E731
    losses = quick_jit(lambda s: [jax.value_and_grad(loss)(s, config) for config in configs])(scores)
    norm = quick_jit(lambda pull, cotangent: optax.global_norm(pull(cotangent)[0]))
    expected = np.array(list(recorded["losses"].values()))
    np.testing.assert_allclose([value for value, _ in losses], expected[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose([norm(pull, cotangent) for _, cotangent in losses], expected[:, 1], rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS)
def test_micro_batches_through_the_one_gradient_function(folder):
    params, forward, batch, groups, _, recorded = problem(folder, grouped=True)
    name = next(iter(recorded["losses"]))
    config = golden_loss(name, recorded)
    gradient = make_gradient(forward, lambda s, t: grpo_loss(s, t, config), micro_batches=len(groups))
    value, _, grads = quick_jit(gradient)(params, {}, batch)
    loss, norm = recorded["losses"][name]
    np.testing.assert_allclose(value, loss, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(optax.global_norm(grads), norm, rtol=1e-3)
