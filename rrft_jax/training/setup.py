"""The start of a training: everything that does not change during it, made in the order in which it can fail."""

import math
from collections.abc import Mapping
from functools import partial

import jax
from ml_collections import ConfigDict

from rrft_jax.config.groups import read
from rrft_jax.data.instances import Counts
from rrft_jax.models.registry import read_config
from rrft_jax.models.weights import abstract_params
from rrft_jax.parallel.layout import plan
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.parallel.processes import print_once
from rrft_jax.pretrained import load_init, resolve_init
from rrft_jax.processing.buckets import describe
from rrft_jax.rewards import Pool
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.algorithm import Run
from rrft_jax.training.algorithms import get_algorithm
from rrft_jax.training.critic import head_params
from rrft_jax.training.frozen_base import frozen_base
from rrft_jax.training.offload import check_memory
from rrft_jax.training.parameters import load_weights, parameter_count, place
from rrft_jax.training.programs import make_programs, step_layout
from rrft_jax.training.rewarding import make_rewards
from rrft_jax.training.source import make_source


def set_up(config: ConfigDict, pool: Pool, counts: Mapping[str, Counts] | None = None) -> tuple[Run, dict]:
    """The run, and its trainable parameters on the mesh. config.train.epochs becomes a number of steps in `config`.
    counts: of right rollouts, as `make_source` takes them."""
    task, algorithm = get_task(config.task), get_algorithm(config.algorithm)
    mesh = make_mesh(**config.mesh, kv_heads=read_config(resolve_init(config.init)).num_kv_heads)
    if config.optimizer.offload:
        check_memory(mesh, "config.optimizer.offload=True")
    if config.model.remat == "offload":
        check_memory(mesh, "config.model.remat=offload")
    layout = step_layout(read(config, "train"), algorithm.group(config), mesh)
    model, processor = load_init(config)
    count = parameter_count(abstract_params(model.config))
    platform = jax.devices()[0].platform
    where = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    print_once(f"{algorithm.name} from {config.init}: {count:,} parameters on {mesh.size} {platform} device(s){where}")
    check_positions(config, model.config.max_position_embeddings)
    check = algorithm.check_example(config, task, processor)
    longest = model.config.max_position_embeddings - config.rollout.max_completion_length
    source = make_source(
        config, task, processor, layout.drawn, partial(plan, mesh), check, algorithm.prompt(config), longest, counts
    )
    described = (source.report, describe(processor, source.sizes), layout.drawn.describe())
    print_once("\n".join(filter(None, described)))
    updates = algorithm.updates(config)
    if updates > 1:
        print_once(f"{updates} updates on each batch of prompts; a step is one of them")
    if config.train.epochs:
        config.train.steps = math.ceil(config.train.epochs * source.records / config.train.prompts) * updates
        print_once(f"{config.train.epochs:g} epochs of {source.records} examples: {config.train.steps} steps")
    critic = algorithm.critic(config)
    programs = make_programs(config, algorithm.loss(config), model, processor, layout, critic)
    weights = load_weights(config, model, mesh, algorithm.reference(config))
    lent = frozen_base(config, model, processor, mesh, weights)
    rewards = make_rewards(config, task, processor.tokenizer, pool, lent)
    if config.lora.rank:
        print_once(f"LoRA of rank {config.lora.rank}: {parameter_count(weights.trainable):,} parameters are trained")
    run = Run(
        config, algorithm, task, model, processor, mesh, source, programs, rewards, weights.frozen, weights.reference
    )
    if critic is None:
        return run, weights.trainable
    return run, weights.trainable | place(head_params(model.config.hidden_size), mesh, ())


def check_positions(config: ConfigDict, most: int) -> None:
    """ValueError where the longest prompt and completion do not fit the model's positions."""
    completion = config.rollout.max_completion_length
    longest = max((n for n in config.buckets.prompt if not isinstance(n, str)), default=0)
    if longest + completion > most:
        raise ValueError(
            f"config.buckets.prompt={longest} and config.rollout.max_completion_length={completion} exceed the "
            f"{most} positions of {config.init}: lower one of them"
        )
