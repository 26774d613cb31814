"""GRPO with a vision-language model, top to bottom in one file: read it before the package, or copy it.

    python examples/grpo_in_one_file.py --steps=60

It trains the bundled nano model on visual counting and writes what it learnt as a HuggingFace directory. The model, the
losses and the sampler are the package's; everything between them is here. With the settings below its losses are those
of launch/train.py --config=configs/grpo_counting.py, step by step.

Left out, and to be found in the package: meshes and several processes, micro-batches, checkpoints and resume, LoRA,
records of your own, held-out evaluation, several updates per batch, rewards in worker processes.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import rrft_jax
from rrft_jax.losses import GRPOLoss, Scores, Targets, finalize, group_advantages, grpo_loss, total
from rrft_jax.models.registry import make_model, read_config
from rrft_jax.models.score import score
from rrft_jax.models.weights import load_params, save_params
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.processing.buckets import Bucket, collate
from rrft_jax.processing.processor import decode, encode_prompt, load_processor, save_processor
from rrft_jax.rewards import reward_set
from rrft_jax.rollout.decoder import make_decoder
from rrft_jax.rollout.sampler import sample
from rrft_jax.tasks.registry import get_task

# ------------------------------------------------------------------------------------------------------------ settings
parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--steps", type=int, default=30, help="updates; the learning rate reaches 0 at the last one")
parser.add_argument("--prompts", type=int, default=32, help="B: questions of a step")
parser.add_argument("--group", type=int, default=8, help="G: answers to each question, compared with one another")
parser.add_argument("--completion", type=int, default=96, help="C: tokens of an answer at most")
parser.add_argument("--rate", type=float, default=2e-4, help="learning rate after the warm-up")
parser.add_argument("--warmup", type=int, default=5, help="updates of linear warm-up")
parser.add_argument("--beta", type=float, default=0.04, help="coefficient of the KL penalty")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--stop_after", type=int, default=None, help="end after so many updates of --steps")
parser.add_argument("--output", default="", help="directory for the result; empty writes none")
args = parser.parse_args()
B, G, C = args.prompts, args.group, args.completion
BUCKET = Bucket(prompt_tokens=88, images=1, patches=64)  # one shape for every prompt: one compilation

# --------------------------------------------------------------------------------------------------- task, model, words
directory = Path(rrft_jax.__file__).parent / "assets" / "nano"
task = get_task("visual_counting")
ask = task.prompt_fn("cot")  # Example -> the text of the question, with the instruction to think first
processor = load_processor(directory)
model = make_model(read_config(directory), remat="dots")
params = jax.tree.map(jnp.asarray, load_params(directory))
reference = jax.tree.map(jnp.copy, params)  # the policy at the start, for the KL penalty; `update` consumes `params`
decoder = make_decoder(model, processor, C)  # which tokens may be drawn, and which end an answer
rewards = reward_set({"accuracy": 1.0, "format": 1.0})


def make_prompts(t):
    """Host: the B examples of step t and their arrays. A pure function of (seed, t)."""
    numbers = range(t * B, (t + 1) * B)
    examples = [task.make(args.seed, i, "train", "in") for i in numbers]
    encoded = [encode_prompt(processor, ask(e), e.images) for e in examples]
    return examples, collate(encoded, list(numbers), BUCKET, processor.pad_token_id, [e.id for e in examples])


# ------------------------------------------------------------------------------------------------- programs of a device
schedule = optax.join_schedules(
    [
        lambda t: args.rate * (t + 1) / (args.warmup + 1),
        optax.linear_schedule(args.rate, 0.0, max(args.steps - args.warmup, 1)),
    ],
    [args.warmup],
)
optimizer = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adamw(schedule, b1=0.9, b2=0.98, eps=1e-8, weight_decay=0.0)
)
loss_config = GRPOLoss(surrogate="on_policy", aggregation="token_mean", beta=args.beta, kl_estimator="k3")


@jax.jit
def rollout(params, prompts, t):
    """G completions of every prompt. Vision tower and prompt run once; members attend to the prompt's keys in place."""
    key = jax.random.fold_in(jax.random.key(args.seed), t)
    return sample(decoder, params, prompts, key, G)


@jax.jit
def log_probs_of(params, prompts, tokens, mask):
    """float32[B, G, C]: the same code that samples scores, so both agree to rounding."""
    return score(model, params, prompts, tokens, mask, decoder.allowed)[0]


@partial(jax.jit, donate_argnums=(0, 1))
def update(params, opt_state, prompts, tokens, mask, targets):
    def loss(params):
        scores = Scores(*score(model, params, prompts, tokens, mask, decoder.allowed))
        terms, metrics = grpo_loss(scores, targets, loss_config)
        return total(terms), metrics

    (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    step, opt_state = optimizer.update(gradient, opt_state, params)
    return optax.apply_updates(params, step), opt_state, {"loss": value, **finalize(metrics)}


# ------------------------------------------------------------------------------------------------------------- training
with jax.set_mesh(make_mesh(devices=jax.devices()[:1])):
    opt_state = optimizer.init(params)
    for t in range(min(args.steps, args.stop_after or args.steps)):
        begun = time.perf_counter()
        examples, prompts = make_prompts(t)
        drawn = rollout(params, prompts, t)
        texts = [decode(processor, row) for row in np.asarray(drawn.tokens).reshape(B * G, C)]
        answered = [e.without_images() for e in examples for _ in range(G)]
        scored = rewards.score(texts, answered, np.arange(B).repeat(G).tolist(), t)
        advantages, stats = group_advantages(scored.total.reshape(B, G))  # (r - mean of the group) / std of the group
        targets = Targets(
            loss_mask=drawn.mask,
            row_weight=jnp.ones((B, G)),
            advantages=advantages,
            ref_log_probs=log_probs_of(reference, prompts, drawn.tokens, drawn.mask),
            sampling_log_probs=drawn.sampled_log_probs,
        )
        params, opt_state, metrics = update(params, opt_state, prompts, drawn.tokens, drawn.mask, targets)
        right = float(np.nanmean(scored.values[0]))
        print(
            f"step {t + 1}/{args.steps}  loss {float(metrics['loss']):.7f}  reward {float(stats['reward']):.3f}  "
            f"accuracy {right:.3f}  kl {float(metrics['kl']):.4f}  {time.perf_counter() - begun:.1f} s",
            flush=True,
        )

    if args.output:
        save_params(Path(args.output), model.config, params, "bfloat16")
        save_processor(processor, args.output)
        print(f"written to {args.output}; ask it: python launch/generate.py --checkpoint={args.output} --image=... ")
