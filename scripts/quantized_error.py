"""How far a base in 8 or 4 bits is from the base in bfloat16: log-probabilities of its own answers; a JSON line each.

    python scripts/quantized_error.py --checkpoint=nano --questions=64

The answers are drawn from the base as it is stored, and scored by it and by each quantised copy, products in float32.
"""

import json

import jax
import numpy as np
from absl import app, flags

_CHECKPOINT = flags.DEFINE_string("checkpoint", "nano", "nano or a HuggingFace directory.")
_TASK = flags.DEFINE_string("task", "visual_counting", "Whose generated questions are asked.")
_QUESTIONS = flags.DEFINE_integer("questions", 64, "How many.", lower_bound=1)
_LENGTH = flags.DEFINE_integer("length", 64, "Longest answer in tokens.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of questions and draws.")


def main(argv: list[str]) -> None:
    from rrft_jax.data.index import Bucket
    from rrft_jax.models import quantized
    from rrft_jax.models.paths import leaf_paths
    from rrft_jax.models.score import score
    from rrft_jax.models.weights import abstract_params, load_sharded
    from rrft_jax.parallel.mesh import make_mesh
    from rrft_jax.pretrained import load_parts, resolve_init
    from rrft_jax.processing.buckets import collate
    from rrft_jax.processing.processor import encode_prompt
    from rrft_jax.rollout.decoder import make_decoder
    from rrft_jax.rollout.sampler import sample
    from rrft_jax.tasks.registry import get_task

    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: every option is a --flag=value")
    directory, task = resolve_init(_CHECKPOINT.value), get_task(_TASK.value)
    model, processor = load_parts(directory, "float32")
    examples = [task.make(_SEED.value, i, "test", "in") for i in range(_QUESTIONS.value)]
    ask = task.prompt_fn("cot")
    encoded = [encode_prompt(processor, ask(e), e.images) for e in examples]
    sizes = [e.size for e in encoded]
    bucket = Bucket(
        max(s.prompt_tokens for s in sizes), max(len(s.patches) for s in sizes),
        max((n for s in sizes for n in s.patches), default=0),
    )  # fmt: skip
    prompts = collate(encoded, range(len(encoded)), bucket, processor.pad_token_id)

    def load(scheme: str) -> dict:
        kept = {path: quantized.dtype_of(path, scheme) for path in leaf_paths(abstract_params(model.config))}
        return load_sharded(directory, model.config, make_mesh(devices=jax.devices()[:1]), kept)

    base, decoder = load("bfloat16"), make_decoder(model, processor, _LENGTH.value)
    drawn = jax.jit(lambda p, x: sample(decoder, p, x, jax.random.key(_SEED.value), 1))(base, prompts)
    scores = jax.jit(lambda p, x, t, m: score(model, p, x, t, m, decoder.allowed)[0])
    given, mask = (prompts, drawn.tokens, drawn.mask), np.asarray(drawn.mask)
    expected = np.asarray(scores(base, *given))[mask]
    for scheme in quantized.SCHEMES:
        error = np.abs(np.asarray(scores(load(scheme), *given))[mask] - expected)
        print(json.dumps({
            "scheme": scheme, "tokens": int(mask.sum()), "mean_log_prob": round(float(expected.mean()), 4),
            "mean_error": round(float(error.mean()), 4), "p99_error": round(float(np.quantile(error, 0.99)), 4),
        }))  # fmt: skip


if __name__ == "__main__":
    app.run(main)
