"""How much of a batch's gradient is signal, and how much the chance of its prompts and samples.

    python scripts/gradient_noise.py --config=configs/grpo_counting.py --prompts=128
    python scripts/gradient_noise.py --config=configs/grpo_counting.py --config.init=workdirs/seed0 --config.loss.beta=0

One batch of a run is drawn with the model it starts from, and the gradient of each prompt's group is taken by itself.
With g_i the share of prompt i in the batch's gradient G = sum g_i, and N prompts,

    noise  = sum |N g_i - G|^2 / (N - 1),     signal = |G|^2 - noise / N

estimate the trace of the covariance of one prompt's gradient and the squared norm of its mean without bias. Their ratio
is the batch at which the two are equal, the noise scale of arXiv:1812.06162, equation 2.9: with many fewer prompts a
step mostly follows chance, and Adam gives that chance its full step all the same.
"""

import json

import jax
import jax.numpy as jnp
import optax
from absl import app, flags
from ml_collections import config_flags

from rrft_jax.losses import terms as T
from rrft_jax.models.vocabulary import allowed_tokens
from rrft_jax.rewards import Pool, symbolic
from rrft_jax.run.clock import Clock
from rrft_jax.training.parameters import combine
from rrft_jax.training.programs import scored_temperature
from rrft_jax.training.setup import set_up
from rrft_jax.training.step import make_forward

_CONFIG = config_flags.DEFINE_config_file("config", help_string="Config file, with its argument: FILE.py[:arg].")
_PROMPTS = flags.DEFINE_integer("prompts", 128, "Prompts of the batch.", 2)


def main(_):
    config = _CONFIG.value
    config.train.update({"prompts": _PROMPTS.value, "micro_batches": _PROMPTS.value, "steps": 1})
    with Pool(initializer=symbolic.load) as pool:
        run, trainable = set_up(config, pool)
        with jax.set_mesh(run.mesh), Clock() as clock:
            feed = run.algorithm.feed(run, clock, 0, None)
            batch, metrics, _ = feed.take(combine(trainable, run.frozen), 0)
            noise, signal, zero = parts(run, trainable, batch)
    print(json.dumps({
        "prompts": _PROMPTS.value, "group": config.rollout.group, "noise": noise, "signal": signal,
        "batch of equal signal and noise": noise / signal if signal > 0 else None,
        "frac_reward_zero_std": metrics["frac_reward_zero_std"], "prompts without gradient": zero,
        "accuracy": metrics.get(f"rewards/{run.task.metric}/mean"),
    }))  # fmt: skip


def parts(run, trainable: dict, batch) -> tuple[float, float, float]:
    """(noise, signal, share of the prompts whose gradient is 0)."""
    config, model = run.config, run.model
    allowed = jnp.asarray(allowed_tokens(model.config, run.processor.vocab_tokens, run.processor.eos_token_ids))
    forward = make_forward(model, allowed, scored_temperature(config), config.model.logits_chunk)
    loss_fn = run.algorithm.loss(config)
    zeros = jnp.zeros(batch.targets.loss_mask.shape, jnp.float32)
    weights = {name: term.weight for name, term in loss_fn(T.Scores(zeros, zeros, zeros), batch.targets)[0].items()}

    @jax.jit
    def share(trainable: dict, frozen: dict, one) -> dict:
        def loss(trainable):
            terms, _ = loss_fn(forward(trainable, frozen, one), one.targets)
            return T.total({n: T.Term(t.coefficient, t.sum, weights[n]) for n, t in terms.items()})

        return jax.grad(loss)(trainable)

    N = len(batch.tokens)
    whole, squares, zero = None, 0.0, 0
    for i in range(N):
        gradient = share(trainable, run.frozen, jax.tree.map(lambda x: x[i : i + 1], batch))  # noqa: B023, called at once
        norm = float(optax.global_norm(gradient)) ** 2
        whole = gradient if whole is None else jax.tree.map(jnp.add, whole, gradient)
        squares, zero = squares + norm, zero + (norm == 0)
    norm = float(optax.global_norm(whole)) ** 2
    noise = (N * N * squares - N * norm) / (N - 1)
    return noise, norm - noise / N, zero / N


if __name__ == "__main__":
    app.run(main)
