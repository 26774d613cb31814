"""What a run will hold on each device and on the host, from its config alone, before any array is made.

Parameters, optimizer, caches, batch and logits are exact: the shapes and shardings the run will use. Activations are an
estimate, and say how it is made; `launch/compile.py` asks the compiler instead.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.models import quantized
from rrft_jax.models.adapter import weights_file
from rrft_jax.models.attention import choose
from rrft_jax.models.dense_attention import QUERIES
from rrft_jax.models.protocol import Sizes
from rrft_jax.models.registry import family_of, make_model
from rrft_jax.models.sharding import ParamAxes, param_spec
from rrft_jax.parallel import layout
from rrft_jax.parallel.mesh import batch_shards, spec_for
from rrft_jax.planning.host_memory import HostPlan, plan_host
from rrft_jax.planning.shapes import RunShapes, bytes_of, device_bytes, largest_bucket, make_shapes, prompt_shapes
from rrft_jax.processing.buckets import round_up
from rrft_jax.rewards.base import Loan
from rrft_jax.rewards.registry import LOANS
from rrft_jax.rollout.compaction import EVALUATION, stages
from rrft_jax.rollout.growth import bounds
from rrft_jax.training.algorithms import get_algorithm
from rrft_jax.training.critic import optimizer_for


@dataclass(frozen=True)
class Drawing:
    """Bytes on one device of a sampler's program, besides the parameters that it is given.

    All the time batch and prompt_cache; first prefill (estimate), then weights (the decoder's, gathered),
    completion_cache, logits, and the larger of compacted (the caches of the smaller batch in which what is unfinished
    continues) and growing (the shorter cache that the last one is copied from).
    """

    batch: int
    prefill: int
    prompt_cache: int
    weights: int
    completion_cache: int
    compacted: int
    growing: int
    logits: int

    @property
    def total(self) -> int:
        """While prompts are read, or completions drawn: whichever is more."""
        loop = self.weights + self.completion_cache + max(self.compacted, self.growing) + self.logits
        return self.batch + self.prompt_cache + max(self.prefill, loop)


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on one device, but for `host`, which is one process's.

    Resident: parameters (trained), frozen, reference, optimizer, and waiting: the batch drawn ahead, where one
    is, and the whole of the batch whose parts are trained on; and kernel: of a quantised base the largest one, as it
    is put together for a product, which happens in every phase. rollout: the sampler of training, None for SFT;
    evaluation: the greedy one on held-out sets, None where there are none; lent: that of a reward which borrows the
    frozen base, with its adapter, None where none does; counted: that of the filter by rollouts, before there is an
    optimizer, None where there is no filter. The update adds batch, and gradients, activations (estimate) and logits,
    or later moving, where moments lie on the host: the float32 gradient, and of the largest parameter both moments, as
    they come and as they go.
    """

    parameters: int
    frozen: int
    reference: int
    optimizer: int
    waiting: int
    kernel: int
    rollout: Drawing | None
    evaluation: Drawing | None
    lent: Drawing | None
    counted: Drawing | None
    gradients: int
    activations: int
    logits: int
    batch: int
    moving: int
    host: HostPlan

    @property
    def resident(self) -> int:
        return self.parameters + self.frozen + self.reference + self.optimizer + self.waiting + self.kernel

    @property
    def sampling(self) -> int:
        return self.resident + (self.rollout.total if self.rollout else 0)

    @property
    def evaluating(self) -> int:
        return self.resident + (self.evaluation.total if self.evaluation else 0)

    @property
    def lending(self) -> int:
        return self.resident + (self.rollout.batch if self.rollout else 0) + (self.lent.total if self.lent else 0)

    @property
    def filtering(self) -> int:
        return self.parameters + self.frozen + self.kernel + self.counted.total if self.counted else 0

    def evaluation_fits(self, capacity: int) -> bool:
        """Whether the held-out evaluation, where there is one, fits `capacity` bytes; 0: not known."""
        return self.evaluation is None or not capacity or self.evaluating <= capacity

    @property
    def updating(self) -> int:
        return self.resident + self.batch + max(self.gradients + self.activations + self.logits, self.moving)

    @property
    def most(self) -> int:
        """At any time of the run: the phases come one after the other."""
        return max(self.filtering, self.sampling, self.lending, self.evaluating, self.updating)


def make_plan(config: ConfigDict, sizes: Sizes, mesh: Mesh) -> MemoryPlan:
    """The plan for the largest bucket of the config on this mesh."""
    optimizer, _ = optimizer_for(config, get_algorithm(config.algorithm).critic(config))
    shapes = make_shapes(config, sizes, optimizer, mesh)
    update = shapes.layout.update
    part = update.rows // batch_shards(mesh) // update.micro_batches  # rows of one device at a time
    group = shapes.layout.group // update.split
    trained, batch, drawn = (device_bytes(tree) for tree in (shapes.state["params"], shapes.batch, shapes.drawn))
    numbers = trained // (2 if config.model.trained_dtype == "bfloat16" else 4)
    axes = family_of(sizes).param_axes
    weights = _decoding_weights(config, shapes, mesh, axes)
    rollout = evaluation = counted = None
    algorithm = get_algorithm(config.algorithm)
    if algorithm.samples:
        how = config.rollout.compact, config.rollout.cache_parts
        whole = shapes.layout.drawn.rows, shapes.layout.group // shapes.layout.drawn.split
        rollout = drawing_bytes(config, sizes, mesh, *whole, *how, weights, drawn)
    loan = loan_of(config) if algorithm.samples else None
    lent = lent_bytes(config, loan, sizes, mesh, weights) if loan else None
    if config.data.filter_rollouts:
        rows = -(-config.train.prompts // batch_shards(mesh)) * batch_shards(mesh)
        asked = device_bytes(prompt_shapes(config, sizes, mesh, rows))
        counted = drawing_bytes(config, sizes, mesh, rows, config.data.filter_rollouts, EVALUATION, 1, weights, asked)
    held = evaluation_rows(config, mesh)
    if held:
        prompts = device_bytes(prompt_shapes(config, sizes, mesh, held))
        evaluation = drawing_bytes(config, sizes, mesh, held, 1, EVALUATION, 1, weights, prompts)
    return MemoryPlan(
        parameters=trained,
        frozen=device_bytes(shapes.frozen),
        reference=device_bytes(shapes.copied),
        optimizer=device_bytes(shapes.state) - trained - device_bytes(shapes.offloaded),
        waiting=drawn * (bool(config.rollout.ahead) + (config.train.minibatches > 1)) if algorithm.samples else 0,
        kernel=_dequantized_bytes(config, shapes, mesh, axes),
        rollout=rollout,
        evaluation=evaluation,
        lent=lent,
        counted=counted,
        # One gradient, and with several micro-batches the float32 sum that it is added to.
        gradients=trained + (update.micro_batches > 1) * numbers * 4,
        activations=activation_bytes(config, sizes, mesh, part, group),
        # Float32 logits of a chunk, their exponentials and their gradient.
        logits=3 * part * (group // config.train.group_chunks) * chunk_size(config) * _vocabulary(sizes, mesh) * 4,
        batch=batch,
        moving=4 * numbers + 4 * max(map(device_bytes, shapes.offloaded)) if shapes.offloaded else 0,
        host=plan_host(
            config, sizes, mesh, shapes, held, offloaded_activation_bytes(config, sizes, mesh, part, group)
        ),
    )


def evaluation_rows(config: ConfigDict, mesh: Mesh) -> int:
    """Rows of a batch of held-out prompts, of all devices; 0 where nothing is held out."""
    if not config.eval.examples or (config.data.folder and not config.data.held_out):
        return 0
    return layout.plan(mesh, config.eval.batch).rows


def loan_of(config: ConfigDict) -> Loan | None:
    """What a registered reward of the config borrows; of one from outside the package nothing is known."""
    options = config.reward_options.to_dict()
    found = (make(**options[name]) for name, make in LOANS.items() if config.rewards[name])
    return next(filter(None, found), None)


def lent_config(config: ConfigDict, loan: Loan) -> ConfigDict:
    """The config with the lengths of a borrower's chats in place of the policy's: three characters a token, the longest
    question, and as many completions to it as stand in a chat."""
    chats = config.copy_and_resolve_references()
    own = largest_bucket(config).prompt_tokens + loan.texts * config.rollout.max_completion_length
    chats.buckets = {"prompt": (round_up(loan.characters // 3 + own, 64),), "images": (0,), "patches": (0,)}
    chats.rollout.max_completion_length = loan.max_tokens
    return chats


def lent_bytes(config: ConfigDict, loan: Loan, sizes: Sizes, mesh: Mesh, weights: int) -> Drawing:
    """The sampler that answers a borrower. weights: of the decoder, on one device."""
    chats, rows = lent_config(config, loan), layout.plan(mesh, loan.rows).rows
    batch = device_bytes(prompt_shapes(chats, sizes, mesh, rows))
    adapter = weights_file(loan.adapter).stat().st_size if loan.adapter else 0
    return drawing_bytes(chats, sizes, mesh, rows, 1, 0, 1, weights, batch + adapter)


def drawing_bytes(
    config: ConfigDict, sizes: Sizes, mesh: Mesh, rows: int, group: int, compact: int, cache_parts: int,
    weights: int, batch: int,
) -> Drawing:  # fmt: skip
    """The sampler on `rows` prompts, all devices together, with `group` completions each. compact, cache_parts: see
    `rollout.sampler.sample`. weights, batch: bytes on one device of the decoder and of what the sampler is given."""
    mine = rows // batch_shards(mesh)
    prompt_cache, completion_cache = cache_bytes(config, sizes, mesh, rows, group)
    smaller = stages(rows * group, compact)[:1]  # the next sizes find the first batch's memory free
    length = config.rollout.max_completion_length
    before = [0, *bounds(length, cache_parts)][-2]
    return Drawing(
        batch=batch,
        prefill=prefill_bytes(config, sizes, mesh, mine),
        prompt_cache=prompt_cache,
        weights=weights,
        completion_cache=completion_cache,
        compacted=sum(sum(cache_bytes(config, sizes, mesh, n, 1)) for n in smaller),
        growing=completion_cache * before // length,
        logits=3 * mine * group * _vocabulary(sizes, mesh) * 4,
    )


def cache_bytes(config: ConfigDict, sizes: Sizes, mesh: Mesh, B: int, G: int) -> tuple[int, int]:
    """Bytes on one device of the keys and values of B prompts, and of their G completions each."""
    C = config.rollout.max_completion_length
    P, dtype = largest_bucket(config).prompt_tokens, jnp.dtype(config.model.dtype)
    one = (sizes.num_layers, B, sizes.num_kv_heads, P, sizes.head_dim)
    prompt = _local(one, (None, "batch", "kv_heads", None, None), mesh) * dtype.itemsize
    suffix = jax.eval_shape(lambda: make_model(sizes, config.model.dtype).empty_suffix(B, G, C))
    layers = (_local(k.shape, ("batch", None, "kv_heads", None, None), mesh) for k in suffix.k)
    completion = sum(layers) * dtype.itemsize
    return 2 * prompt, 2 * completion


def activation_bytes(config: ConfigDict, sizes: Sizes, mesh: Mesh, rows: int, group: int) -> int:
    """Estimate for the update of `rows` prompts with `group` completions each on one device.

    What the backward pass keeps of each layer by config.model.remat (full: its input; offload: the input of two layers,
    those of the others are on the host; dots: the results of its projections and, without a kernel, of attention as
    well; none: all inside it but scores), plus the inside of the
    layer being differentiated: three copies of float32 attention scores, three of the widest features. Decoder and
    tower are added up: the tower's outlive it.
    """
    v, width = sizes.vision, jnp.dtype(config.model.dtype).itemsize
    bucket, C = largest_bucket(config), config.rollout.max_completion_length
    members = group // config.train.group_chunks
    P, patches = bucket.prompt_tokens, rows * bucket.images * bucket.patches
    tensor = mesh.shape["tensor"]
    heads = sizes.num_heads // tensor
    tokens = rows * (P + members * C)

    def layer(tokens: int, scores: int, features: int, mlp: int, products: int) -> tuple[int, int]:
        kept = {"full": features, "dots": features + products, "none": 2 * features + products + 2 * mlp}
        return kept.get(config.model.remat, features) * tokens * width, _inside(scores, mlp * tokens * width)

    scores = _scores(config, mesh, rows * heads, ((P, P), (C, members * (P + C))))
    mlp = sizes.intermediate_size // tensor
    by_xla = _by_xla(config, mesh)
    attention = ((1 + by_xla) * sizes.num_heads + 2 * sizes.num_kv_heads) * sizes.head_dim // tensor
    kept, inside = layer(tokens, scores, sizes.hidden_size, mlp, attention + 2 * mlp + 2 * sizes.hidden_size)
    tower_scores = _scores(config, mesh, rows * bucket.images * v.num_heads, ((bucket.patches, bucket.patches),))
    tower_mlp = v.intermediate_size
    products = (5 + by_xla) * v.embed_dim + tower_mlp
    tower_kept, tower_inside = layer(patches, tower_scores, v.embed_dim, tower_mlp, products)
    inside = max(inside, tower_inside if patches else 0)
    if config.model.remat == "offload":
        return 2 * max(kept, tower_kept) + inside
    return kept * sizes.num_layers + tower_kept * v.depth + inside


def offloaded_activation_bytes(config: ConfigDict, sizes: Sizes, mesh: Mesh, rows: int, group: int) -> int:
    """Of what `activation_bytes` counts, what lies on the host for one device: with remat=offload inputs of layers."""
    if config.model.remat != "offload":
        return 0
    v, bucket = sizes.vision, largest_bucket(config)
    members = group // config.train.group_chunks
    tokens = rows * (bucket.prompt_tokens + members * config.rollout.max_completion_length)
    patches = rows * bucket.images * bucket.patches
    numbers = sizes.num_layers * tokens * sizes.hidden_size + v.depth * patches * v.embed_dim
    return numbers * jnp.dtype(config.model.dtype).itemsize


def prefill_bytes(config: ConfigDict, sizes: Sizes, mesh: Mesh, rows: int) -> int:
    """Estimate for reading `rows` prompts on one device before sampling: the inside of one layer, of the decoder or of
    the tower, as in `activation_bytes`, and nothing kept of the others."""
    v, bucket, width = sizes.vision, largest_bucket(config), jnp.dtype(config.model.dtype).itemsize
    P, images, tensor = bucket.prompt_tokens, rows * bucket.images, mesh.shape["tensor"]
    scores = _scores(config, mesh, rows * sizes.num_heads // tensor, ((P, P),))
    tower_scores = _scores(config, mesh, images * v.num_heads, ((bucket.patches, bucket.patches),))
    mlp = v.intermediate_size * images * bucket.patches * width
    return max(_inside(scores, sizes.intermediate_size // tensor * rows * P * width), _inside(tower_scores, mlp))


def _scores(config: ConfigDict, mesh: Mesh, heads: int, shapes: Sequence[tuple[int, int]]) -> int:
    """Attention scores at a time, for `heads` rows times heads and the larger of the (queries, keys): of a part of the
    queries; none where a kernel keeps them in the chip's fast memory."""
    return _by_xla(config, mesh) * heads * max(min(queries, QUERIES) * keys for queries, keys in shapes)


def _by_xla(config: ConfigDict, mesh: Mesh) -> bool:
    return choose(config.model.attention, mesh.devices.flat[0].platform, config.model.dtype) == "xla"


def _inside(scores: int, widest: int) -> int:
    """Bytes inside a layer: three copies of `scores` float32 attention scores and of its widest features, in bytes."""
    return 3 * scores * 4 + 3 * widest


def chunk_size(config: ConfigDict) -> int:
    return min(config.model.logits_chunk, config.rollout.max_completion_length)


def _vocabulary(sizes: Sizes, mesh: Mesh) -> int:
    return _local((sizes.vocab_size,), ("vocab",), mesh)


def _local(shape: tuple[int, ...], names: tuple[str | None, ...], mesh: Mesh) -> int:
    """Elements on one device."""
    spec = spec_for(shape, names, dict(mesh.shape))
    return math.prod(jax.sharding.NamedSharding(mesh, spec).shard_shape(shape))


def _dequantized_bytes(config: ConfigDict, shapes: RunShapes, mesh: Mesh, axes: ParamAxes) -> int:
    """Bytes on one device of the largest quantised kernel while it is put together, not split over fsdp: once in
    float32, where codes meet their scales, and once in the compute dtype. 0 without one."""
    whole = jax.sharding.AbstractMesh((1, 1, mesh.shape["tensor"]), mesh.axis_names)
    numbers = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes.frozen):
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            spec = param_spec("/".join(k.key for k in path), leaf.shape, whole, axes)
            numbers = max(numbers, math.prod(jax.sharding.NamedSharding(whole, spec).shard_shape(leaf.shape)[-2:]))
    return numbers * (4 + jnp.dtype(config.model.dtype).itemsize)


def _decoding_weights(config: ConfigDict, shapes: RunShapes, mesh: Mesh, axes: ParamAxes) -> int:
    """The decoder in the compute dtype, quantised kernels as they are, not split over fsdp: see
    `models.sharding.gathered`. Layers are copied out of their stack; what else is whole already, in the dtype that is
    wanted, is not."""
    whole = jax.sharding.AbstractMesh((1, 1, mesh.shape["tensor"]), mesh.axis_names)
    total = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path({"language": shapes.params["language"]}):
        name = "/".join(k.key for k in path)
        spec = param_spec(name, leaf.shape, whole, axes)
        as_it_is = quantized.is_scale(name) or jnp.issubdtype(leaf.dtype, jnp.integer)
        dtype = leaf.dtype if as_it_is else jnp.dtype(config.model.dtype)
        if dtype == leaf.dtype and mesh.shape["fsdp"] == 1 and not name.startswith("language/layers/"):
            continue
        width = bytes_of(dtype)
        total += math.ceil(math.prod(jax.sharding.NamedSharding(whole, spec).shard_shape(leaf.shape)) * width)
    return total
