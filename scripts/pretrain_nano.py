"""Pre-trains the bundled `nano` base on the three synthetic tasks, and writes it as a HuggingFace directory.

    python scripts/pretrain_nano_tower.py --workdir=workdirs/pretrain_nano
    python scripts/pretrain_nano.py --workdir=workdirs/pretrain_nano --out=rrft_jax/assets/nano

Resumable: the same command resumes from the last checkpoint. The mixture (nano_mixture.py) makes a *base*: it can
describe a picture, answer directly and reason, and under the training prompts it keeps the format and mostly guesses.
"""

import json
import os
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from nano_mixture import (
    BATCH,
    BEGINNINGS,
    COMPLETION_LENGTH,
    MICRO_BATCHES,
    MIXTURES,
    SEED,
    WAYS,
    make_batch,
    shows,
    way,
)
from nano_sizes import make_pretraining_optimizer, nano_config, published
from safetensors.numpy import load_file

from rrft_jax.data.loader import make_loader
from rrft_jax.losses.sft import sft_loss
from rrft_jax.models.paths import from_paths
from rrft_jax.models.protocol import Model
from rrft_jax.models.registry import make_model
from rrft_jax.models.vocabulary import allowed_tokens
from rrft_jax.models.weights import load_params, save_params
from rrft_jax.processing.buckets import Bucket, bucket_for, collate
from rrft_jax.processing.encoded import with_start
from rrft_jax.processing.processor import Processor, decode, encode_completion, encode_prompt, load_processor
from rrft_jax.rewards.registry import get
from rrft_jax.rollout.compaction import EVALUATION
from rrft_jax.rollout.decoder import make_decoder
from rrft_jax.rollout.sampler import sample
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.run.checkpoints import Checkpoints
from rrft_jax.tasks.registry import get_task
from rrft_jax.tasks.task import Task
from rrft_jax.training.step import init_state, make_forward, make_train_step

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", "workdirs/pretrain_nano", "Checkpoints and the curve; resumed when it exists.")
flags.DEFINE_string("out", "rrft_jax/assets/nano", "The tokenizer's directory, which receives the weights.")
flags.DEFINE_string("init", "", "A HuggingFace directory whose decoder to start from; empty: random weights.")
flags.DEFINE_enum("only", "", ["", *MIXTURES], "Train on batches of this mixture alone.")
flags.DEFINE_float("peak", 3e-3, "Peak learning rate.")
flags.DEFINE_integer("steps", 4000, "Optimizer steps.")
flags.DEFINE_integer("stop_after", 0, "End this process after so many steps (0: run to the end).")
flags.DEFINE_integer("every", 100, "Steps between two checkpoints, each with the weights so far in --out.")
flags.DEFINE_integer("held_out", 256, "Examples of each task and domain that the end is evaluated on; 0: not at all.")
flags.DEFINE_integer("evaluate_every", 500, "Steps between two evaluations, a multiple of --every.")

THOUGHT = BEGINNINGS["reason"]
IN_PROGRESS = 64  # held-out examples of each task and domain


def remap(params: dict, old: Processor, new: Processor, rows: int) -> dict:
    """The parameters with embedding rows of another tokenizer: a token that the old one had too keeps its row, a
    new one starts from the mean of the tokens that its text had before, and rows beyond the tokenizer are 0."""
    former, known = np.asarray(params["language"]["embed"]["embedding"]), old.tokenizer.get_vocab()
    table = np.zeros((rows, former.shape[1]), np.float32)
    for token, number in new.tokenizer.get_vocab().items():
        ids = [known[token]] if token in known else old.plain.encode(new.plain.decode([number])).ids
        table[number] = former[ids].mean(0) if ids else 0.0
    return {**params, "language": {**params["language"], "embed": {"embedding": table}}}


def evaluate(
    generate, params, processor, task: Task, count: int, prompt: str, start: str = "", domain: str = "in"
) -> dict:
    """Greedy, on held-out examples: accuracy (answers right as a whole), mean score, share of well-formed answers, and
    of each way of thinking its share and accuracy."""
    ask, metric = task.prompt_fn(prompt), get(task.metric)
    form = get("format")
    scores, kept, ways = [], [], []
    for low in range(0, count, BATCH):
        examples = [task.make(SEED, i, "val", domain) for i in range(low, low + BATCH)]
        encoded = [encode_prompt(processor, ask(e), e.images) for e in examples]
        if start:
            encoded = [with_start(e, encode_completion(processor, start)[:-1]) for e in encoded]
        buckets = [bucket_for(e.size, processor.merge_size) for e in encoded]
        bucket = Bucket(max(r.prompt_tokens for r in buckets), buckets[0].images, buckets[0].patches)
        prompts = collate(encoded, np.arange(BATCH), bucket, processor.pad_token_id)
        texts = [start + decode(processor, ids) for ids in np.asarray(generate(params, prompts).tokens)[:, 0]]
        scores += [value or 0.0 for value in metric(texts, examples, list(range(BATCH)), 0)]
        kept += form(texts, examples, list(range(BATCH)), 0)
        ways += [way(text) for text in texts]
    right, ways = np.array(scores) >= 1.0, np.array(ways)
    of_ways = {name: [float((ways == name).mean()), float(right[ways == name].mean())] for name in WAYS if name in ways}
    return {
        "accuracy": float(right.mean()),
        "score": float(np.mean(scores)),
        "format": float(np.mean(kept)),
        "ways": of_ways,
    }


def report(generate, params, processor, count: int, direct: bool) -> dict:
    """For each task and domain: under the training prompt, and made to reason; in-domain also asked directly."""
    scores = {}
    for name in filter(shows, MIXTURES):
        task = get_task(name)
        measure = partial(evaluate, generate, params, processor, task, count)
        scores[name] = {f"{prompt}_prompt": measure(prompt) for prompt in ("ans", "zero_shot") if direct}
        for domain, _ in task.held_out.values():
            scores[name][f"cot_prompt_{domain}"] = measure("cot", domain=domain)
            scores[name][f"forced_{domain}"] = measure("cot", THOUGHT, domain)
    return scores


def initial(config, processor: Processor, model: Model, workdir: Path) -> dict:
    """Random or given decoder, and the tower that pretrain_nano_tower.py wrote into the workdir."""
    if FLAGS.init:
        old = load_processor(FLAGS.init)
        params = remap(load_params(FLAGS.init), old, processor, config.vocab_size)
    else:
        params = model.init_params(jax.random.key(SEED))
    tower = workdir / "tower.safetensors"
    if not tower.exists():
        raise ValueError(f"{tower} does not exist: run scripts/pretrain_nano_tower.py --workdir={workdir} first")
    return jax.tree.map(jnp.asarray, params | from_paths(load_file(tower)))


def main(_):
    workdir, out = Path(FLAGS.workdir), Path(FLAGS.out)
    workdir.mkdir(parents=True, exist_ok=True)
    processor = load_processor(out, sizes=published())
    config = nano_config(processor)
    model = make_model(config)
    allowed = jnp.asarray(allowed_tokens(config, processor.vocab_tokens, processor.eos_token_ids))
    optimizer, schedule = make_pretraining_optimizer(FLAGS.peak, FLAGS.steps)
    params = initial(config, processor, model, workdir)
    # The tower is frozen: with gradients from an untrained decoder it would unlearn what it can name.
    frozen = {"vision": params.pop("vision")}
    state = init_state(params, optimizer)
    print(
        f"{sum(x.size for x in jax.tree.leaves((state['params'], frozen))):,} parameters, {jax.devices()}", flush=True
    )
    step_fn = jax.jit(
        make_train_step(make_forward(model, allowed), sft_loss, optimizer, schedule, MICRO_BATCHES), donate_argnums=0
    )
    decoder = make_decoder(model, processor, COMPLETION_LENGTH, sampling=Sampling(0.0), compact=EVALUATION)
    generate = jax.jit(partial(sample, decoder, key=jax.random.key(0), group=1))
    with (
        Checkpoints(workdir / "checkpoints", keep_last=2, keep_best=0) as checkpoints,
        open(workdir / "curve.jsonl", "a") as curve,
    ):
        start = 0
        if checkpoints.latest_step() is not None:
            state, _, start = checkpoints.restore(state)
            print(f"resumed at step {start}", flush=True)
        stop = min(FLAGS.steps, start + FLAGS.stop_after) if FLAGS.stop_after else FLAGS.steps
        began, recent = time.time(), {name: [] for name in MIXTURES}
        for step, (task, batch) in zip(
            range(start, stop),
            make_loader(partial(make_batch, processor, only=FLAGS.only), start, stop, 8, 2),
            strict=True,
        ):
            state, metrics = step_fn(state, frozen, batch)
            recent[task].append(metrics["loss"])
            done = step + 1
            if done % 50 == 0:
                losses = " ".join(f"{name} {np.mean(each):.4f}" for name, each in recent.items() if each)
                recent = {name: [] for name in MIXTURES}
                print(f"step {done} loss {losses} {(time.time() - began) / (done - start):.2f} s/step", flush=True)
            if done % FLAGS.every == 0 or done == stop:
                checkpoints.save(done, state, {})
                save_params(out, config, {**state["params"], **frozen}, "bfloat16")
            if done % FLAGS.evaluate_every == 0:
                scores = report(generate, {**state["params"], **frozen}, processor, IN_PROGRESS, direct=False)
                curve.write(json.dumps({"step": done, **scores}) + "\n")
                curve.flush()
                os.fsync(curve.fileno())
                print(json.dumps(scores), flush=True)
    if stop == FLAGS.steps and FLAGS.held_out:
        save_params(out, config, {**state["params"], **frozen}, "bfloat16")
        scores = report(generate, load_params(out), processor, FLAGS.held_out, direct=True)
        card = {
            "seed": SEED,
            "steps": stop,
            "batch": BATCH,
            "stored": "bfloat16",
            "init": Path(FLAGS.init).name,
            "held_out_examples": FLAGS.held_out,
            "ways": WAYS,
            "mixtures": {name: [share, [vars(m) for m in modes]] for name, (share, modes) in MIXTURES.items()},
            "greedy": scores,
        }
        (out / "pretraining.json").write_text(json.dumps(card, indent=2) + "\n")
        print(json.dumps(scores), flush=True)


if __name__ == "__main__":
    app.run(main)
