"""The instance filter of RIF-RFT (arXiv 2507.05386) as a part of a training: config.data.filter_rollouts."""

from pathlib import Path

from absl import logging
from ml_collections import ConfigDict

from rrft_jax.data.instances import Counts
from rrft_jax.models.registry import read_config
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.parallel.processes import is_writer, print_once, run_on_all
from rrft_jax.pretrained import load_init, resolve_init
from rrft_jax.remote.endpoint import Decoding
from rrft_jax.rewards import Pool
from rrft_jax.rollout.answering import make_answerer
from rrft_jax.rollout.questions import BatchAnswerer
from rrft_jax.run.predictions import fingerprint, same_evaluation
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.algorithms import get_algorithm
from rrft_jax.training.frozen_base import PlannedBase
from rrft_jax.training.instances import NAME, count_right, histogram, large_enough
from rrft_jax.training.parameters import combine, load_weights
from rrft_jax.training.rewarding import right_reward
from rrft_jax.training.source import as_configured, make_source

TOLD = 10  # how often the progress is printed


def count_rollouts(config: ConfigDict, folder: Path, pool: Pool) -> dict[str, Counts]:
    """Counts by the example's id, of the examples that `config` trains on, how many of config.data.filter_rollouts
    answers are right, drawn from the policy that the training starts from and as the training draws. They are kept in
    folder/rollouts.jsonl; after an interruption those that are there are not drawn again.

    Every process of the run calls it. ValueError where no example can be asked, or the folder holds other counts.
    """
    task, algorithm, data = get_task(config.task), get_algorithm(config.algorithm), config.data
    rollout = config.rollout
    decoding = Decoding(
        rollout.temperature, rollout.top_k, rollout.top_p, rollout.max_completion_length, data.filter_rollouts,
        config.seed,
    )  # fmt: skip
    model, processor = run_on_all(lambda: load_init(config))
    check = algorithm.check_example(config, task, processor)
    longest = model.config.max_position_embeddings - rollout.max_completion_length
    source = run_on_all(
        lambda: make_source(config, task, processor, trainable=check, asked=algorithm.prompt(config), longest=longest)
    )
    assert source.examples is not None  # `check_config`
    found = source.examples()
    examples = [example for example in found if large_enough(example)]
    if not examples:
        raise ValueError(
            f"config.data.filter_rollouts={data.filter_rollouts}: none of the {len(found)} examples to train on has "
            "pictures with sides of at least 28 pixels, which the filter asks for: train without it"
        )
    base = PlannedBase(config, algorithm.reference(config))
    rewards = run_on_all(lambda: right_reward(config, task, processor.tokenizer, base, pool))
    adapters = [Path(name).expanduser() for name in (config.init, config.lora.adapter) if name]  # or nothing there
    about = {
        "weights": fingerprint(resolve_init(config.init), *adapters),
        "task": task.name, "prompt": config.prompt, "reward": rewards.rewards[0].name, "decoding": vars(decoding),
        "data": data.folder, "seed": config.seed,
    }  # fmt: skip
    run_on_all(lambda: same_evaluation(folder, about, "") if is_writer() else None)
    what = f"filter: {decoding.samples} rollouts of {config.init} on each of {len(examples)} examples"
    print_once(f"{what}, counted in {folder / NAME}.jsonl")
    if left := len(found) - len(examples):
        logging.warning("filter: %d examples without a picture, or with a small one, are left out", left)

    def reward(*args) -> list[float | None]:
        return [None if value != value else value for value in rewards.score(*args).values[0].tolist()]

    def tell(done: int) -> None:
        if done and done * TOLD // len(examples) > (done - 1) * TOLD // len(examples):
            print_once(f"filter: {done} of {len(examples)} examples are counted")

    ask = task.prompt_fn(config.prompt, real=bool(data.folder), marks=config.processor.images == "in_question")
    answerer = _answerer(config, decoding)
    counts = count_right(examples, ask, answerer, reward, folder, tell)
    print_once(histogram(counts, data.filter_always_right))
    return counts


def _answerer(config: ConfigDict, decoding: Decoding) -> BatchAnswerer:
    """Answers with the parameters that the training starts from, an adapter's included; reads them when it is called,
    and lets go of them at the end."""

    def answer(questions, done=()):
        mesh = make_mesh(**config.mesh, kv_heads=read_config(resolve_init(config.init)).num_kv_heads)
        model, processor = load_init(config)
        weights = run_on_all(lambda: load_weights(config, model, mesh, keep_reference=False))
        params = combine(weights.trainable, weights.frozen)
        del weights
        of_config = as_configured(processor, config)
        yield from make_answerer(model, params, of_config, mesh, decoding, config.train.prompts)(questions, done)

    return answer
