"""The grouped, cached sampler against a slow one; what it promises about batches, buckets, EOS and allowed tokens."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from rrft_jax.models.cache import Suffix
from rrft_jax.models.score import score
from rrft_jax.rollout.compaction import live_first, put_members, stages, take_members
from rrft_jax.rollout.decoder import Decoder
from rrft_jax.rollout.growth import bounds, grown
from rrft_jax.rollout.sampler import sample
from rrft_jax.rollout.sampling import Sampling
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.models.build import Visual, pack, quick_jit, random_patches, random_prompts, select_prompts, text
from tests.rollout.reference import ALLOWED, EOS, MODEL, PAD, make_sampler, random_params, sample_slowly, text_prompts

GROUP, LENGTH = 4, 10
KEY = jax.random.key(5)
IDS = np.array([7, 100_003, 2**31 - 1], np.int32)


def prompts_with_images(**padding):
    return replace(select_prompts(random_prompts(seed=2, **padding), [0, 1, 2]), prompt_id=IDS)


@pytest.fixture(scope="module")
def program():
    return make_sampler(group=GROUP, length=LENGTH)


@pytest.fixture(scope="module")
def rollouts(program):
    return program(random_params(), prompts_with_images(), KEY)


@pytest.fixture(scope="module")
def slack(program):
    """Rollouts of floats: by how much rounding may move the log-probabilities; it moves no token."""
    return rounding(program, random_params(), prompts_with_images(), KEY)


def test_group_is_as_many_slow_runs_with_its_keys(rollouts, slack):
    slow = sample_slowly(random_params(), prompts_with_images(), KEY, GROUP, LENGTH, Sampling())
    assert_same_but_rounding(rollouts, slow, slack)
    assert len({row.tobytes() for row in rollouts.tokens.reshape(-1, LENGTH)}) > 2 * GROUP, "members share keys"


@pytest.mark.parametrize("sampling", [Sampling(0.7, top_k=12, top_p=0.8), Sampling(0)], ids=["truncated", "greedy"])
def test_other_distributions_are_as_many_slow_runs(sampling):
    prompts = text_prompts()
    program, inputs = make_sampler(group=2, length=6, sampling=sampling), (random_params(), prompts, KEY)
    ours, slow = program(*inputs), sample_slowly(*inputs, 2, 6, sampling)
    assert_same_but_rounding(ours, slow, rounding(program, *inputs))
    gain = (ours.sampled_log_probs - ours.log_probs)[ours.mask]
    assert (gain > 0.1).any(), "the distribution of the draw is not the model's own"
    if sampling.temperature == 0:
        assert (ours.tokens[:, 0] == ours.tokens[:, 1]).all() and (ours.sampled_log_probs == 0).all()


def test_scorer_recomputes_the_log_probs(rollouts, slack):
    rescore = quick_jit(lambda p, b, t, m: score(MODEL, p, b, t, m, ALLOWED, chunk=4)[0])
    again = rescore(random_params(), prompts_with_images(), rollouts.tokens, rollouts.mask)
    assert_same_but_rounding(np.where(rollouts.mask, again, 0), rollouts.log_probs, slack.log_probs)


def test_row_order_and_other_rows_do_not_matter(program, rollouts, slack):
    rows = [2, 1, 1]
    moved = program(random_params(), select_prompts(prompts_with_images(), rows), KEY)
    assert_same_but_rounding(moved, jax.tree.map(lambda x: x[rows], rollouts), slack)


def test_alone_in_the_batch(rollouts, slack):
    alone = make_sampler(group=GROUP, length=LENGTH)(random_params(), select_prompts(prompts_with_images(), [0]), KEY)
    assert_same_but_rounding(alone, jax.tree.map(lambda x: x[:1], rollouts), slack)


def test_bucket_padding_and_group_size_do_not_matter(rollouts, slack):
    larger = prompts_with_images(extra=(5, 1, 8), skip=(1,))
    ours = make_sampler(group=2, length=LENGTH + 3)(random_params(), larger, KEY)
    cut = jax.tree.map(lambda x: x[:, :, :LENGTH] if x.ndim == 3 else x, ours)
    ended = (cut.mask & np.isin(cut.tokens, EOS)).any(-1)
    assert_same_but_rounding(replace(cut, finished=ended), jax.tree.map(lambda x: x[:, :2], rollouts), slack)


def test_completions_end_with_their_first_eos(rollouts):
    assert rollouts.finished.any() and not rollouts.finished.all()
    for tokens, mask, lp, sampled, finished in zip(
        *(x.reshape(-1, LENGTH) for x in (rollouts.tokens, rollouts.mask, rollouts.log_probs)),
        rollouts.sampled_log_probs.reshape(-1, LENGTH),
        rollouts.finished.reshape(-1),
        strict=True,
    ):
        ends = np.flatnonzero(np.isin(tokens, EOS))
        length = ends[0] + 1 if len(ends) else LENGTH
        assert finished == bool(len(ends))
        np.testing.assert_array_equal(mask, np.arange(LENGTH) < length)
        assert (tokens[length:] == PAD).all() and (lp[length:] == 0).all() and (sampled[length:] == 0).all()
        assert (lp[:length] < 0).all()
    assert len(set(rollouts.tokens[np.isin(rollouts.tokens, EOS)])) > 1, "only one of the EOS tokens was drawn"


def counting_program(monkeypatch, eos, **options):
    """(f(prompts, allowed) -> Rollouts, list that grows by one at every turn of the decode loop)."""
    turns, extend = [], type(MODEL).extend

    def counted(*args, **kwargs):
        jax.debug.callback(lambda: turns.append(1))
        return extend(*args, **kwargs)

    monkeypatch.setattr(type(MODEL), "extend", counted)
    jitted = quick_jit(
        lambda params, prompts, allowed: sample(
            Decoder(MODEL, allowed, eos, PAD, length=40, **options), params, prompts, KEY, group=3
        )
    )

    def run(prompts, allowed):
        turns.clear()
        out = jax.tree.map(np.asarray, jitted(random_params(), prompts, allowed))
        jax.effects_barrier()
        return out

    return run, turns


def test_loop_ends_with_the_longest_completion(monkeypatch):
    eos = (*range(0, 50, 3), PAD)  # padding shares its id with an EOS, as in Qwen2-VL
    run, turns = counting_program(monkeypatch, eos)
    out = run(text_prompts(), ALLOWED)
    lengths = out.mask.sum(-1)
    assert out.finished.all() and len(turns) == lengths.max() < 40 and lengths.min() < lengths.max()

    out = run(text_prompts(), np.arange(len(ALLOWED)) == PAD)
    assert len(turns) == 1 and out.finished.all()
    np.testing.assert_array_equal(out.mask, np.broadcast_to(np.arange(40) < 1, (2, 3, 40)))
    assert (out.tokens == PAD).all() and (out.log_probs == 0).all()


def test_without_stopping_the_loop_runs_to_the_end(monkeypatch):
    eos = tuple(range(0, 50, 3))
    stopped, _ = counting_program(monkeypatch, eos)
    short = stopped(text_prompts(), ALLOWED)
    run, turns = counting_program(monkeypatch, eos, stop_at_eos=False)
    out = run(text_prompts(), ALLOWED)
    assert len(turns) == 40 and out.mask.all() and out.finished.all()
    np.testing.assert_array_equal(out.tokens[short.mask], short.tokens[short.mask])
    assert (out.log_probs < 0).all()


def test_no_temperature_draws_a_token_that_is_not_allowed():
    prompts = text_prompts((5,))
    out = make_sampler(group=64, length=16, eos_token_ids=(52,), sampling=Sampling(1e5))(random_params(), prompts, KEY)
    seen = set(out.tokens[out.mask].tolist())
    assert seen <= set(np.flatnonzero(ALLOWED)) and len(seen) > 0.9 * ALLOWED.sum()
    np.testing.assert_allclose(out.sampled_log_probs[out.mask], -np.log(ALLOWED.sum()), atol=1e-3)


def test_scorer_allows_the_same_tokens():
    every = np.arange(len(ALLOWED), dtype=np.int32)[None, :, None]  # as many one-token completions as there are tokens
    params, prompts = jax.tree.map(jax.numpy.asarray, (random_params(), text_prompts((5,))))
    p = score(MODEL, params, prompts, every, np.ones_like(every, bool), ALLOWED)[0]
    p = np.exp(np.asarray(p)[0, :, 0])
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-5)
    assert (p[~ALLOWED] == 0).all() and (p[ALLOWED] > 0).all()


def test_one_compilation_a_bucket():
    program = make_sampler(group=2, length=3)
    rng = np.random.default_rng(0)
    for h, w, lead, key in ((2, 2, 1, 0), (2, 4, 3, 1), (4, 4, 2, 2)):  # other images, lengths and keys, one bucket
        prompt = [text(rng, lead), Visual(h, w), text(rng, 2)]
        spare = (13 - lead - h * w // 4 - 4, 0, 16 - h * w)
        program(random_params(), pack([prompt], [random_patches(rng, prompt)], extra=spare), jax.random.key(key))
    assert program.traces == [(1, 13)]
    for key in (0, 1):
        program(random_params(), text_prompts((13,)), jax.random.key(key))
    assert program.traces == [(1, 13), (1, 13)]  # another bucket: the same tokens, no image slots


@pytest.mark.parametrize("compact", [2, 8])
def test_a_batch_that_shrinks_draws_the_same_tokens(rollouts, slack, compact):
    """12 members, of which some end early and some never do, over 4 batch sizes or 2."""
    shrinking = make_sampler(group=GROUP, length=LENGTH, compact=compact)
    assert_same_but_rounding(shrinking(random_params(), prompts_with_images(), KEY), rollouts, slack)


@pytest.mark.parametrize(("parts", "compact"), [(3, 0), (10, 0), (2, 4)])
def test_a_cache_that_grows_draws_the_same_tokens(rollouts, slack, parts, compact):
    growing = make_sampler(group=GROUP, length=LENGTH, cache_parts=parts, compact=compact)
    assert_same_but_rounding(growing(random_params(), prompts_with_images(), KEY), rollouts, slack)


def test_a_cache_grows_to_the_length_of_a_completion():
    assert [bounds(10, parts) for parts in (1, 3, 10)] == [(10,), (4, 7, 10), tuple(range(1, 11))]
    for parts in (0, 11):
        with pytest.raises(ValueError, match=f"cache_parts={parts}: give 1 to 10"):
            bounds(10, parts)


def test_a_grown_cache_holds_what_it_held_and_nothing_behind_it():
    k, v = (jax.random.normal(jax.random.key(i), (2, 3, 2, 4, 5)) for i in (0, 1))
    suffix = Suffix((k,), (v,), jax.numpy.ones((2, 3, 4), bool))
    assert grown(suffix, 4) is suffix
    for old, new in zip(jax.tree.leaves(suffix), jax.tree.leaves(grown(suffix, 6)), strict=True):
        tokens = 3 if old.ndim == 5 else 2
        np.testing.assert_array_equal(new, np.pad(old, [(0, 2 * (axis == tokens)) for axis in range(old.ndim)]))


def test_live_members_leave_and_return():
    numbers = live_first(jax.numpy.array([[True, False, True], [False, True, False]]), 4)
    assert numbers.tolist() == [1, 3, 5, 0]
    x = jax.numpy.arange(12).reshape(2, 3, 2)
    taken = take_members({"x": x}, numbers)
    assert taken["x"].tolist() == [[[2, 3]], [[6, 7]], [[10, 11]], [[0, 1]]]
    back = put_members({"x": x}, numbers, {"x": -taken["x"]})
    assert back["x"].tolist() == [[[0, -1], [-2, -3], [4, 5]], [[-6, -7], [8, 9], [-10, -11]]]


def test_no_turn_of_a_smaller_loop_is_wasted(monkeypatch):
    eos = (*range(0, 50, 3), PAD)
    run, turns = counting_program(monkeypatch, eos, compact=2)
    out = run(text_prompts(), ALLOWED)
    lengths = out.mask.sum(-1)
    assert out.finished.all() and len(turns) == lengths.max() and lengths.min() < lengths.max()


def test_batch_sizes_end_with_one_row():
    assert [stages(64, 8), stages(12, 2), stages(20, 8), stages(1, 4), stages(64, 0)] == [
        (8, 1), (6, 3, 1), (2, 1), (), ()
    ]  # fmt: skip
    for factor in (1, -1, -2):
        with pytest.raises(ValueError, match=f"compact={factor}: give"):
            stages(8, factor)


def test_a_loop_traces_one_layer():
    program = make_sampler(group=GROUP, length=LENGTH, compact=4)
    text = program.lower(random_params(), prompts_with_images(), KEY).as_text()
    loops = 1 + len(stages(len(IDS) * GROUP, 4))
    assert text.count("func.func private @body") == loops
    assert text.count("call @body") == loops * MODEL.config.num_layers > loops


@pytest.mark.parametrize("compact", [0, 2])
def test_one_member_takes_the_likeliest_tokens_and_the_others_are_drawn_as_before(rollouts, slack, compact):
    """ReMax's baseline: the last member of every group, after the same prefix."""
    inputs = random_params(), prompts_with_images(), KEY
    more = make_sampler(group=GROUP + 1, length=LENGTH, greedy_member=GROUP, compact=compact)(*inputs)
    assert_same_but_rounding(jax.tree.map(lambda x: x[:, :GROUP], more), rollouts, slack)
    greedy = make_sampler(group=1, length=LENGTH, sampling=Sampling(0.0))(*inputs)
    np.testing.assert_array_equal(more.tokens[:, GROUP:], greedy.tokens)
    assert (more.sampled_log_probs[:, GROUP] == 0).all()
