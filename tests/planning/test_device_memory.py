"""The plan against arrays: what it says a device holds is what a device holds."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from rrft_jax.config.defaults import base_config
from rrft_jax.config.groups import read
from rrft_jax.models.lora import init_adapter, is_trained
from rrft_jax.models.paths import leaf_paths
from rrft_jax.models.weights import abstract_params
from rrft_jax.parallel.chips import topology_devices
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.planning.device_memory import activation_bytes, make_plan
from rrft_jax.planning.shapes import largest_bucket, make_shapes
from rrft_jax.planning.text import describe_plan, picture_tokens
from rrft_jax.pretrained import load_model, read_sizes
from rrft_jax.training.optimizer import make_optimizer
from rrft_jax.training.step import init_state

NANO = read_sizes("nano")


def one_device():
    return make_mesh(devices=jax.devices()[:1])


def grpo_config():
    """With a penalty, and so with a reference policy."""
    config = base_config()
    config.loss.beta = 0.04
    return config


def nbytes(tree):
    return sum(x.nbytes for x in jax.tree.leaves(tree))


def test_parameters_optimizer_and_caches_are_those_of_a_run():
    config = grpo_config()
    model, _, params = load_model(config)
    plan = make_plan(config, NANO, one_device())
    assert plan.parameters == plan.reference == nbytes(params)
    optimizer, _ = make_optimizer(read(config, "optimizer"), 10)
    assert plan.parameters + plan.optimizer == nbytes(init_state(params, optimizer))
    B, G, C = config.train.prompts, config.rollout.group, config.rollout.max_completion_length
    suffix = model.empty_suffix(B, G, C)
    assert plan.rollout.completion_cache == nbytes((suffix.k, suffix.v))
    prompts = make_shapes(config, NANO, optimizer, one_device()).drawn.prompts
    prefix = jax.eval_shape(lambda p, x: model.prefix_of(p, x), params, prompts)
    assert plan.rollout.prompt_cache == sum(x.size * x.dtype.itemsize for x in (prefix.k, prefix.v))


def test_sums_hold_their_parts():
    plan = make_plan(grpo_config(), NANO, one_device())
    assert plan.resident == plan.parameters + plan.frozen + plan.reference + plan.optimizer
    assert min(plan.sampling, plan.updating, plan.evaluating) > plan.resident > 4 * plan.parameters - 100
    # The prompts are read before the decoder's weights are gathered, so the two need not fit together.
    drawn = plan.rollout
    always = plan.resident + plan.batch + drawn.prompt_cache
    decoding = drawn.weights + drawn.completion_cache + drawn.logits
    assert plan.sampling == always + max(drawn.prefill, decoding) and 0 < drawn.prefill < plan.activations
    assert plan.most == max(plan.sampling, plan.updating, plan.evaluating)


def test_offloaded_moments_are_planned_on_the_host():
    config = base_config()
    here = make_plan(config, NANO, one_device())
    config.optimizer.offload = True
    away = make_plan(config, NANO, one_device())
    assert here.moving == here.host.moments == 0
    assert away.host.moments == 2 * away.parameters == pytest.approx(here.optimizer, abs=100)
    assert here.sampling - away.sampling == here.optimizer - away.optimizer == away.host.moments
    assert away.parameters < away.moving < 3 * away.parameters and away.updating < here.updating
    optimizer, _ = make_optimizer(read(config, "optimizer"), 10)
    shapes = make_shapes(config, NANO, optimizer, one_device())
    kinds = {x.sharding.memory_kind for x in jax.tree.leaves(shapes.state["opt_state"]) if x.ndim}
    assert kinds == {"pinned_host"} and sum(4 * x.size for x in shapes.offloaded) == away.host.moments
    text = describe_plan(away, config, NANO, one_device(), "none")
    assert "but for those on the host" in text and "the optimizer's moments" in text
    stand_in = make_plan(config, NANO, make_mesh(devices=topology_devices("gpu:24")[0]))
    assert (stand_in.host.moments, stand_in.optimizer) == (away.host.moments, away.optimizer)


def test_frozen_parameters_need_no_moments():
    config = base_config()
    config.train.freeze = ("^vision/",)
    whole, part = make_plan(base_config(), NANO, one_device()), make_plan(config, NANO, one_device())
    assert part.frozen > 0 and part.frozen + part.parameters == whole.parameters
    assert part.optimizer == pytest.approx(2 * part.parameters, abs=100) and part.gradients == 2 * part.parameters


def test_lora_trains_the_adapter_and_shares_the_base_with_the_reference():
    config = grpo_config()
    config.lora.rank, config.model.frozen_dtype = 4, "bfloat16"
    whole, plan = make_plan(base_config(), NANO, one_device()), make_plan(config, NANO, one_device())
    optimizer, _ = make_optimizer(read(config, "optimizer"), 10)
    shapes = make_shapes(config, NANO, optimizer, one_device())
    adapter = init_adapter(leaf_paths(abstract_params(NANO)), read(config, "lora").settings(), 0)
    assert plan.parameters == sum(x.nbytes for path, x in adapter.items() if is_trained(path))
    assert plan.reference == 0 and leaf_paths(shapes.reference).keys() == leaf_paths(abstract_params(NANO)).keys()
    assert plan.frozen - 0.5 * whole.parameters == sum(x.nbytes for p, x in adapter.items() if not is_trained(p))


@pytest.mark.parametrize("scheme", ["int8", "nf4"])
def test_one_kernel_of_a_quantised_base_is_put_together_at_a_time(scheme):
    config = base_config()
    config.lora.rank, config.lora.parts, config.model.dtype = 4, ("language", "vision"), "bfloat16"
    config.model.frozen_dtype = "bfloat16"
    assert make_plan(config, NANO, one_device()).kernel == 0
    config.model.frozen_dtype = scheme
    plan = make_plan(config, NANO, one_device())
    assert plan.kernel == 512 * 512 * 6  # the merger's first, in float32 and in bfloat16
    held = plan.parameters + plan.frozen + plan.optimizer + plan.kernel
    assert plan.resident == held and plan.updating > held and plan.sampling > held


def test_no_reference_without_a_penalty():
    config = base_config()
    assert config.loss.beta == 0
    optimizer, _ = make_optimizer(read(config, "optimizer"), 10)
    shapes = make_shapes(config, NANO, optimizer, one_device())
    assert shapes.reference is None and shapes.batch.targets.ref_log_probs is None and not shapes.copied


def test_sft_draws_in_its_evaluation_alone():
    config = base_config()
    config.algorithm = "sft"
    plan = make_plan(config, NANO, one_device())
    assert plan.reference == 0 and plan.rollout is None and plan.evaluation and plan.sampling == plan.resident
    text = describe_plan(plan, config, NANO, one_device(), "none")
    assert text.count("KV cache of") == 2 and "64 held-out prompts" in text
    assert "reference" not in text and "gradients" in text
    config.eval.examples = 0
    plan = make_plan(config, NANO, one_device())
    assert plan.evaluation is None and plan.host.held_out == 0
    text = describe_plan(plan, config, NANO, one_device(), "none")
    assert "KV cache" not in text and "evaluation" not in text


def test_an_evaluation_is_planned_with_its_own_batch():
    """By hand, against the arrays of the greedy program: 48 prompts of 88 tokens with 96 more each, then 6 of them."""
    config = base_config()
    config.train.prompts, config.eval.batch = 4, 48
    drawn = make_plan(config, NANO, one_device()).evaluation
    layers, heads, width = NANO.num_layers, NANO.num_kv_heads, NANO.head_dim
    token = 2 * layers * heads * width * 4  # key and value, float32
    assert (drawn.prompt_cache, drawn.completion_cache) == (48 * 88 * token, 48 * 96 * token)
    assert drawn.compacted == 6 * (88 + 96) * token
    assert drawn.logits == 3 * 48 * NANO.vocab_size * 4
    assert drawn.batch > 48 * 64 * NANO.vision.patch_dim * 4


def test_rollouts_of_the_filter_are_planned_before_there_is_an_optimizer():
    """By hand: 32 prompts of 88 tokens with 16 completions of 96 each, beside the parameters alone."""
    config = base_config()
    config.algorithm, config.train.prompts, config.data.filter_rollouts = "sft", 32, 16
    plan = make_plan(config, NANO, one_device())
    token = 2 * NANO.num_layers * NANO.num_kv_heads * NANO.head_dim * 4
    assert (plan.counted.prompt_cache, plan.counted.completion_cache) == (32 * 88 * token, 32 * 16 * 96 * token)
    assert plan.filtering == plan.parameters + plan.frozen + plan.counted.total > plan.evaluating
    text = describe_plan(plan, config, NANO, one_device(), "")
    assert re.search(rf"rollouts of the filter.* {plan.filtering / 2**30:.3f} GiB", text), text
    config.data.filter_rollouts = 0
    assert make_plan(config, NANO, one_device()).counted is None


def test_the_peak_is_that_of_the_largest_phase():
    config = grpo_config()
    config.train.prompts = config.train.micro_batches = config.eval.batch = 4
    small = make_plan(config, NANO, one_device())
    config.eval.batch = 512
    large = make_plan(config, NANO, one_device())
    assert small.most == max(small.sampling, small.updating) == max(large.sampling, large.updating) < large.evaluating
    assert large.most == large.evaluating
    text = describe_plan(large, config, NANO, one_device(), "")
    assert re.search(rf"the most at any time +{large.evaluating / 2**30:.3f} GiB", text), text


def test_records_without_a_share_held_out_are_not_evaluated():
    config = base_config()
    config.data.folder, config.data.held_out = "somewhere", 0.0
    assert make_plan(config, NANO, one_device()).evaluation is None
    config.data.held_out = 0.1
    assert make_plan(config, NANO, one_device()).evaluation is not None


def test_what_is_drawn_ahead_and_what_goes_on_in_a_smaller_batch_is_counted():
    config = grpo_config()
    plain = make_plan(config, NANO, one_device())
    config.rollout.ahead = 1
    ahead = make_plan(config, NANO, one_device())
    # The log-probs of the drawing policy come with the batch then: [32, 8, 96] float32.
    assert ahead.waiting == ahead.batch == plain.batch + 32 * 8 * 96 * 4
    assert ahead.resident == plain.resident + ahead.waiting
    config.rollout.update({"ahead": 0, "compact": 8})
    drawn = make_plan(config, NANO, one_device()).rollout
    # An eighth of 8 completions of 32 prompts: one per prompt, each with a copy of the prompt's cache.
    assert drawn.compacted == drawn.prompt_cache + drawn.completion_cache // 8
    config.rollout.update({"compact": 0, "cache_parts": 4})
    growing = make_plan(config, NANO, one_device()).rollout
    assert growing.growing == growing.completion_cache * 3 // 4
    config.rollout.max_completion_length = 4096  # so that decoding, not reading, takes most
    growing = make_plan(config, NANO, one_device()).rollout
    config.rollout.cache_parts = 1
    assert growing.total - growing.growing == make_plan(config, NANO, one_device()).rollout.total


def test_less_is_kept_with_more_recomputed_and_with_smaller_parts():
    def bytes_with(remat="none", chunks=1, rows=4):
        config = base_config()
        config.model.remat, config.train.group_chunks = remat, chunks
        return activation_bytes(config, NANO, one_device(), rows, 8)

    assert bytes_with("full") < bytes_with("dots") < bytes_with("none")
    assert bytes_with(chunks=4) < bytes_with() and bytes_with(rows=2) * 2 == bytes_with()


def test_offloaded_activations_are_planned_on_the_host():
    plans = {}
    for remat in ("full", "offload"):
        config = base_config()
        config.model.remat = remat
        plans[remat] = make_plan(config, NANO, one_device())
    here, away = plans.values()
    # Of all layers, where two of the larger kind of layers stay on the device.
    tokens = 8 * (88 + 8 * 96)
    decoder, tower = tokens * NANO.hidden_size * 4, 8 * 64 * NANO.vision.embed_dim * 4
    assert away.host.activations == NANO.num_layers * decoder + NANO.vision.depth * tower and not here.host.activations
    assert here.activations - away.activations == away.host.activations - 2 * max(decoder, tower)


@pytest.mark.parametrize("remat", ["none", "dots"])
def test_a_kernel_has_no_scores_and_keeps_no_result(remat):
    config = base_config()
    config.model.update({"dtype": "bfloat16", "remat": remat})
    on_tpu = SimpleNamespace(shape={"tensor": 1}, devices=np.array([SimpleNamespace(platform="tpu")]))
    by_kernel = activation_bytes(config, NANO, on_tpu, 4, 8)
    config.model.attention = "xla"
    by_xla = activation_bytes(config, NANO, on_tpu, 4, 8)
    # Three float32 copies of scores inside the layer that is differentiated; a result in bfloat16 for every token.
    P, C, G, n = config.buckets.prompt[0], config.rollout.max_completion_length, 8, config.buckets.patches[0]
    decoder, tower = NANO.num_heads * NANO.head_dim, NANO.vision.embed_dim
    kept = 2 * 4 * (NANO.num_layers * (P + G * C) * decoder + NANO.vision.depth * n * tower)
    assert kept < by_xla - by_kernel <= kept + 3 * 4 * 4 * NANO.num_heads * G * C * (P + C)


def test_the_largest_bucket_is_planned_for():
    config = base_config()
    config.buckets = {"prompt": (64, 512), "images": (1, 2), "patches": (64, 256)}
    bucket = largest_bucket(config)
    assert (bucket.prompt_tokens, bucket.images, bucket.patches) == (512, 2, 256)


def test_visual_tokens_of_the_published_size():
    config = base_config()
    config.processor.max_pixels = 480_000
    config.buckets.patches = (2560,)
    text = picture_tokens(config, read_sizes("2b"))
    assert "at most 612 by max_pixels=480000" in text and "640 by config.buckets.patches" in text
    assert "640x480 gives 391" in text  # as test_real_size.py finds with the processor


PROGRAM = """
import jax
from rrft_jax.models.weights import abstract_params
from rrft_jax.models.paths import leaf_paths
from rrft_jax.models.sharding import PARAM_AXES
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.config.groups import read
from rrft_jax.config.defaults import base_config
from rrft_jax.planning.device_memory import make_plan
from rrft_jax.training.optimizer import make_optimizer
from rrft_jax.config.command_line import load_config
from rrft_jax.planning.shapes import make_shapes
from rrft_jax.pretrained import load_model, read_sizes
from rrft_jax.training.parameters import place
from rrft_jax.training.step import init_state
config = base_config()
config.mesh.update({"fsdp": 4, "tensor": 2})
mesh = make_mesh(**config.mesh)
model, _, params = load_model(config)
plan = make_plan(config, model.config, mesh)
state = place(init_state(params, make_optimizer(read(config, "optimizer"), 10)[0]), mesh, PARAM_AXES)
held = lambda tree: sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))
assert plan.parameters == held(state["params"]), (plan.parameters, held(state["params"]))
assert plan.parameters + plan.optimizer == held(state)
assert 3 * plan.parameters < sum(x.nbytes for x in jax.tree.leaves(params))

# The presets of real sizes leave the number of micro-batches open: one row of each device, whatever the mesh.
for axes, parts in (({"fsdp": 8}, 2), ({"fsdp": 4, "tensor": 2}, 4), ({"fsdp": 1, "tensor": 1}, 2)):
    config = load_config("configs/grpo_counting.py:2b")
    config.mesh.update({"data": -1, **axes})
    sizes = read_sizes("2b")
    mesh = make_mesh(**config.mesh, kv_heads=sizes.num_kv_heads)
    layout = make_shapes(config, sizes, make_optimizer(read(config, "optimizer"), 10)[0], mesh).layout.update
    assert (config.train.prompts, layout.rows, layout.micro_batches) == (16, 16, parts), (axes, layout)
"""


def test_on_eight_devices_a_device_holds_its_part():
    flags = "--xla_force_host_platform_device_count=8"
    env = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_bfloat16_halves_the_caches():
    config = base_config()
    wide = make_plan(config, NANO, one_device())
    config.model.dtype = "bfloat16"
    narrow = make_plan(config, NANO, one_device())
    assert 2 * narrow.rollout.prompt_cache == wide.rollout.prompt_cache and narrow.parameters == wide.parameters
