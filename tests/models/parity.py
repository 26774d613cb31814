"""What comparisons with transformers share: prompts of every kind, and a model run on them there and here.

`models` is what a family's fixture makes: `theirs` (a random transformers model), its `directory`, and `config` and
`params` as we read them from there; `torch`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from rrft_jax.models.head import logits
from rrft_jax.models.paths import leaf_paths
from rrft_jax.models.registry import make_model
from rrft_jax.models.score import score
from rrft_jax.models.weights import tensor_names
from rrft_jax.rollout.decoder import Decoder
from rrft_jax.rollout.sampler import sample
from rrft_jax.rollout.sampling import Sampling
from tests.models.build import Visual, pack, quick_jit, random_completions, random_patches, spell, text

ATOL = 2e-4


def randomised(model):
    """The model with random weights, biases and norms too, of a size at which all parts matter."""
    import torch

    model = model.float().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            center, spread = (1, 0.2) if p.ndim == 1 and "weight" in name else (0, 0.15)
            p.copy_(center + spread * torch.randn(p.shape))
    return model


def layouts(rng):
    """Prompts of every kind."""
    return {
        "text only": [text(rng, 9)],
        "one image": [text(rng, 3), Visual(4, 6), text(rng, 5)],
        "images of several sizes": [Visual(2, 2), text(rng, 2), Visual(8, 2), Visual(2, 10), text(rng, 1)],
        "long video": [text(rng, 1), Visual(2, 4, frames=5, video=True)],
        "video and image": [Visual(4, 4, frames=2, video=True), text(rng, 2), Visual(2, 6), text(rng, 4)],
    }


def their_inputs(models, segments, patches, seconds=None):
    """Keyword arguments of the transformers model for one prompt; a video's patches are its frame pairs in order.
    seconds: between frame pairs, of families that count them."""
    torch = models.torch
    ids = torch.tensor([spell(segments, models.config)])
    kinds = torch.zeros_like(ids)
    kinds[ids == models.config.image_token_id] = 1
    kinds[ids == models.config.video_token_id] = 2
    inputs = dict(input_ids=ids, attention_mask=torch.ones_like(ids), mm_token_type_ids=kinds)
    patches = iter(patches)
    for video, pixels, grids in (
        (False, "pixel_values", "image_grid_thw"),
        (True, "pixel_values_videos", "video_grid_thw"),
    ):
        inputs[grids] = [(s.frames, s.h, s.w) for s in segments if isinstance(s, Visual) and s.video == video]
        inputs[pixels] = []
    for s in segments:
        if isinstance(s, Visual):
            name = "pixel_values_videos" if s.video else "pixel_values"
            inputs[name] += [torch.tensor(next(patches)) for _ in range(s.frames)]
    for name, value in list(inputs.items()):
        if isinstance(value, list):
            made = (torch.cat if "pixel" in name else torch.tensor)(value) if value else None
            inputs[name] = made
    if seconds is not None and inputs["video_grid_thw"] is not None:
        inputs["second_per_grid_ts"] = torch.full((len(inputs["video_grid_thw"]),), seconds)
    return {name: value for name, value in inputs.items() if value is not None}


def their_logits(models, model, segments, patches, seconds=None):
    with models.torch.no_grad():
        return model(**their_inputs(models, segments, patches, seconds)).logits[0].float().numpy()


def our_logits(config, params, batch):
    model = make_model(config)
    run = quick_jit(lambda p, b: logits(model.prefill(p, b)[0], model.output_table(p), None))
    return np.asarray(run(params, batch))


def one_batch(models):
    rng = np.random.default_rng(3)
    prompts = list(layouts(rng).values())
    patches = [random_patches(rng, p) for p in prompts]
    return prompts, patches, pack(prompts, patches, models.config, extra=(2, 1, 4))


def check_logits(models, prompts, patches, batch, seconds=None):
    """Every position of every prompt, in one padded batch here and alone there."""
    ours = our_logits(models.config, models.params, batch)
    for z, segments, row in zip(ours, prompts, patches, strict=True):
        expected = their_logits(models, models.theirs, segments, row, seconds)
        assert expected.std() > 0.3
        np.testing.assert_allclose(z[: len(expected)], expected, rtol=0, atol=ATOL)


def check_greedy_text(models, prompts, patches, batch, seconds=None, length=32):
    decoder = Decoder(make_model(models.config), None, (52,), 50, length, Sampling(0.0), stop_at_eos=False)
    rollouts = quick_jit(lambda p, b: sample(decoder, p, b, jax.random.key(0), 1))(models.params, batch)
    for tokens, segments, row in zip(rollouts.tokens[:, 0], prompts, patches, strict=True):
        inputs = their_inputs(models, segments, row, seconds)
        expected = models.theirs.generate(
            **inputs, do_sample=False, max_new_tokens=length, eos_token_id=None, pad_token_id=50, use_cache=True
        )
        assert tokens.tolist() == expected[0, inputs["input_ids"].shape[1] :].tolist()


def check_gradient(models, prompts, patches, batch, seconds=None, group=2, length=4, **settings):
    """The gradient of a weighted sum of log-probabilities of completions that share their prompts, leaf by leaf, is
    that of torch, which reads each completion with its whole prompt: 1e-3 of the leaf's largest number."""
    torch, model = models.torch, make_model(models.config, **settings)
    tokens, mask = random_completions(1, len(prompts), group, length)
    weights = np.random.default_rng(2).normal(size=tokens.shape).astype(np.float32) * mask

    def objective(params):
        log_probs, _ = score(model, params, batch, tokens, mask, None)
        return jnp.sum(jnp.where(mask, weights * log_probs, 0))

    value, grads = quick_jit(jax.value_and_grad(objective))(models.params)
    theirs, expected = models.theirs, 0.0
    theirs.zero_grad()
    for b, (segments, row) in enumerate(zip(prompts, patches, strict=True)):
        for g in range(group):
            count = int(mask[b, g].sum())
            inputs = their_inputs(models, [*segments, tokens[b, g, :count].tolist()], row, seconds)
            log_probs = theirs(**inputs).logits[0, -count - 1 : -1].log_softmax(-1)
            picked = log_probs[range(count), tokens[b, g, :count].tolist()]
            loss = (picked * torch.tensor(weights[b, g, :count])).sum()
            loss.backward()
            expected += float(loss.detach())
    np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-3)
    names, seen = tensor_names(models.config), dict(theirs.named_parameters())
    for path, ours in leaf_paths(grads).items():
        name, stacked = names.published(path)
        for i, mine in enumerate(ours) if stacked else [(None, ours)]:
            full = names.in_transformers(name.format(i))
            found = seen[full].grad.numpy()
            mine = (np.asarray(mine).T if path.endswith("kernel") else np.asarray(mine)).reshape(found.shape)
            largest = np.abs(found).max()
            assert largest > 0 or not mine.any(), full  # DeepStack behind the last layer reaches no completion
            np.testing.assert_allclose(mine, found, rtol=0, atol=1e-3 * largest, err_msg=full)
