"""Pre-trains the bundled `nano` base on the synthetic counting task, and writes it as a HuggingFace directory.

    python scripts/pretrain_nano_tower.py --workdir=workdirs/pretrain_nano
    python scripts/pretrain_nano.py --workdir=workdirs/pretrain_nano --out=rrft_jax/assets/nano

Resumable: the same command goes on from the last checkpoint. The mixture (MIXTURE below) makes a *base*, not a solver:
it can list a scene, answer directly and reason, and under the training prompt it prefers to answer directly.
"""

import json
import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from nano_sizes import make_pretraining_optimizer, nano_config
from safetensors.numpy import load_file

from rrft_jax.data.loader import make_loader
from rrft_jax.losses.sft import sft_loss
from rrft_jax.losses.terms import Targets
from rrft_jax.models.qwen2_vl.model import Qwen2VL, init_params
from rrft_jax.models.qwen2_vl.weights import from_paths, load_params, save_params
from rrft_jax.models.vocabulary import allowed_tokens
from rrft_jax.processing.buckets import Bucket, collate
from rrft_jax.processing.encoded import with_start
from rrft_jax.processing.processor import (
    Processor,
    decode,
    encode_completion,
    encode_prompt,
    load_processor,
)
from rrft_jax.rewards.compare import decide
from rrft_jax.rewards.extract import extract_answer
from rrft_jax.rollout.sampler import sample
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.tasks.texts import ans_target, cot_target, listing_target
from rrft_jax.tasks.visual_counting.generator import example
from rrft_jax.tasks.visual_counting.prompts import format_prompt
from rrft_jax.tasks.visual_counting.reasoning import GONE, LEFT, OTHER
from rrft_jax.training.checkpoints import Checkpoints
from rrft_jax.training.forward import Batch, make_forward
from rrft_jax.training.step import init_state, make_train_step

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", "workdirs/pretrain_nano", "Checkpoints and the curve; resumed when it exists.")
flags.DEFINE_string("out", "rrft_jax/assets/nano", "The tokenizer's directory, which receives the weights.")
flags.DEFINE_string("init", "", "A HuggingFace directory to start from; empty: the tower and random weights.")
flags.DEFINE_float("peak", 3e-3, "Peak learning rate.")
flags.DEFINE_integer("steps", 2500, "Optimizer steps.")
flags.DEFINE_integer("stop_after", 0, "End this process after so many steps (0: run to the end).")

SEED = 20251120
BATCH, COMPLETION_LENGTH, PROMPT_LENGTH, PATCHES = 32, 96, 88, 64
MICRO_BATCHES = 2


@dataclass(frozen=True)
class Mode:
    """share of the rows; prompt template; target; which of its tokens are in the loss: "all", "rest" (all but the
    first, which says whether to reason) or "verdicts" (what is said of each object, and the numbers)."""

    share: float
    template: str
    target: str
    tokens: str = "all"


# Under COUNT_COT, the training prompt, the first token is learnt from 4 direct rows to 1 reasoning row, so the base
# mostly answers directly; the other rows teach how to reason without teaching whether to. Verdicts are what is learnt
# last, and a sixth of a thought's tokens: some rows are about nothing else.
MIXTURE = (
    Mode(0.08, "LISTING", "listing"),
    Mode(0.05, "ANS", "direct"),
    Mode(0.03, "COUNT_ZS", "direct"),
    Mode(0.16, "COUNT_COT", "direct"),
    Mode(0.04, "COUNT_COT", "reason"),
    Mode(0.30, "COUNT_COT", "reason", "rest"),
    Mode(0.34, "COUNT_COT", "reason", "verdicts"),
)
TARGETS = {"listing": listing_target, "direct": ans_target, "reason": cot_target}
# As tokens; that of " 1" is the space before a number.
VERDICTS = (f" {GONE}", f" {LEFT}", f" {OTHER}", " 1", *"0123456789")
THOUGHT = "<think>\n"  # how a thought begins; the newline belongs to a token of the tag


def make_batch(processor: Processor, step: int) -> Batch:
    """Batch `step` of the pre-training data: a pure function of (SEED, step)."""
    rng = np.random.default_rng([SEED, step])
    modes = rng.choice(len(MIXTURE), BATCH, p=[m.share for m in MIXTURE])
    verdicts = [encode_completion(processor, text)[0] for text in VERDICTS]
    encoded, tokens = [], np.full((BATCH, 1, COMPLETION_LENGTH), processor.pad_token_id, np.int32)
    token_mask, loss_mask = np.zeros((2, BATCH, 1, COMPLETION_LENGTH), bool)
    for row, mode in enumerate(MIXTURE[m] for m in modes):
        ex = example(SEED, step * BATCH + row, split="pretrain")
        encoded.append(encode_prompt(processor, format_prompt(mode.template, ex.problem), ex.images))
        target = encode_completion(processor, TARGETS[mode.target](ex))
        tokens[row, 0, : len(target)] = target
        token_mask[row, 0, : len(target)] = loss_mask[row, 0, : len(target)] = True
        if mode.tokens == "rest":
            loss_mask[row, 0, 0] = False
        elif mode.tokens == "verdicts":
            loss_mask[row, 0] &= np.isin(tokens[row, 0], verdicts)
    bucket = Bucket(PROMPT_LENGTH, 1, PATCHES)
    prompts = collate(encoded, np.arange(BATCH) + step * BATCH, bucket, processor.pad_token_id)
    return Batch(prompts, tokens, token_mask, Targets(loss_mask, np.ones((BATCH, 1), np.float32)))


def evaluate(generate, params, processor, count: int, template: str, start: str = "", domain: str = "in") -> dict:
    """Greedy accuracy and the share of answers that reason, on held-out scenes."""
    good = reasoned = reasoned_good = 0
    for low in range(0, count, 64):
        examples = [example(SEED, i, split="val", domain=domain) for i in range(low, low + 64)]
        encoded = [encode_prompt(processor, format_prompt(template, e.problem), e.images) for e in examples]
        if start:
            encoded = [with_start(e, encode_completion(processor, start)[:-1]) for e in encoded]
        bucket = Bucket(PROMPT_LENGTH, 1, PATCHES)
        prompts = collate(encoded, np.arange(64), bucket, processor.pad_token_id)
        for ex, ids in zip(examples, np.asarray(generate(params, prompts).tokens)[:, 0], strict=True):
            text = start + decode(processor, ids)
            answer, thinks = extract_answer(text), "<think>" in text
            hit = answer is not None and decide(answer.text, ex.answer) is True
            good, reasoned, reasoned_good = good + hit, reasoned + thinks, reasoned_good + (hit and thinks)
    return {
        "accuracy": good / count,
        "reasons": reasoned / count,
        "accuracy_reasoned": reasoned_good / max(reasoned, 1),
        "accuracy_direct": (good - reasoned_good) / max(count - reasoned, 1),
    }


def report(generate, params, processor, count: int) -> dict:
    return {
        "training_prompt": evaluate(generate, params, processor, count, "COUNT_COT"),
        "forced_reasoning": evaluate(generate, params, processor, count, "COUNT_COT", start=THOUGHT),
        "direct_prompt": evaluate(generate, params, processor, count, "ANS"),
        "training_prompt_ood": evaluate(generate, params, processor, count, "COUNT_COT", domain="out"),
        "forced_reasoning_ood": evaluate(generate, params, processor, count, "COUNT_COT", THOUGHT, domain="out"),
    }


def main(_):
    workdir, out = Path(FLAGS.workdir), Path(FLAGS.out)
    workdir.mkdir(parents=True, exist_ok=True)
    processor = load_processor(out)
    config = nano_config(processor)
    model = Qwen2VL(config)
    allowed = jnp.asarray(allowed_tokens(config, processor.vocab_tokens, processor.eos_token_ids))
    optimizer, schedule = make_pretraining_optimizer(FLAGS.peak, FLAGS.steps)
    if FLAGS.init:
        params = jax.tree.map(jnp.asarray, load_params(FLAGS.init, config))
    else:
        params = init_params(model, jax.random.key(SEED))
        params |= from_paths(load_file(workdir / "tower.safetensors"))  # written by pretrain_nano_tower.py
    # The tower stays as it is: from a decoder that knows nothing yet it would only unlearn what it can name.
    frozen = {"vision": jax.tree.map(jnp.asarray, params["vision"])}
    state = init_state({name: tree for name, tree in params.items() if name != "vision"}, optimizer)
    print(
        f"{sum(x.size for x in jax.tree.leaves((state['params'], frozen))):,} parameters, {jax.devices()}", flush=True
    )
    step_fn = jax.jit(
        make_train_step(make_forward(model, allowed), sft_loss, optimizer, schedule, MICRO_BATCHES), donate_argnums=0
    )
    generate = jax.jit(partial(
        sample, model, key=jax.random.key(0), allowed=allowed, eos_token_ids=processor.eos_token_ids,
        pad_token_id=processor.pad_token_id, group=1, length=COMPLETION_LENGTH, sampling=Sampling(0.0),
    ))  # fmt: skip
    with (
        Checkpoints(workdir / "checkpoints", keep_last=2, keep_best=0) as checkpoints,
        open(workdir / "curve.jsonl", "a") as curve,
    ):
        start = 0
        if checkpoints.latest_step() is not None:
            state, _, start = checkpoints.restore(state)
            print(f"resumed at step {start}", flush=True)
        stop = min(FLAGS.steps, start + FLAGS.stop_after) if FLAGS.stop_after else FLAGS.steps
        began = time.time()
        for step, batch in zip(
            range(start, stop), make_loader(partial(make_batch, processor), start, stop, 8, 2), strict=True
        ):
            state, metrics = step_fn(state, frozen, batch)
            done = step + 1
            if done % 50 == 0:
                print(
                    f"step {done} loss {metrics['loss']:.4f} grad {metrics['grad_norm']:.2f} "
                    f"{(time.time() - began) / (done - start):.2f} s/step",
                    flush=True,
                )
            if done % 500 == 0 or done == stop:
                checkpoints.save(done, state, {})
                scores = report(generate, {**state["params"], **frozen}, processor, 256)
                curve.write(json.dumps({"step": done, "loss": float(metrics["loss"]), **scores}) + "\n")
                curve.flush()
                os.fsync(curve.fileno())
                print(json.dumps(scores), flush=True)
    if start < stop or stop == FLAGS.steps:
        save_params(out, config, {**state["params"], **frozen}, "bfloat16")
        scores = report(generate, load_params(out), processor, 512)
        card = {
            "seed": SEED,
            "steps": stop,
            "batch": BATCH,
            "stored": "bfloat16",
            "init": Path(FLAGS.init).name,
            "held_out_examples": 512,
            "mixture": [vars(m) for m in MIXTURE],
            "greedy": scores,
        }
        (out / "pretraining.json").write_text(json.dumps(card, indent=2) + "\n")
        print(json.dumps(scores), flush=True)


if __name__ == "__main__":
    app.run(main)
