"""A slow sampler that is easy to believe, and what the sampler tests share.

One completion at a time, the whole sequence through the model for every token, no cache, the choice made in NumPy.
"""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from rrft_jax.models.qwen2_vl.model import Qwen2VL
from rrft_jax.models.vocabulary import allowed_tokens
from rrft_jax.rollout.decoder import Decoder
from rrft_jax.rollout.sampler import Rollouts, sample
from tests.models.build import TINY, pack, quick_jit, select_prompts, text

MODEL = Qwen2VL(TINY)
EOS, PAD = (52, 3, 7, 11), 50
ALLOWED = allowed_tokens(TINY, known_tokens=59, eos_token_ids=EOS)  # 0 ... 53


@cache
def random_params(seed=1):
    """Float32 parameters of TINY, none of them 0 or 1, so that logits differ by a few units."""
    shapes = jax.eval_shape(lambda key: MODEL.init_params(key), jax.random.key(0))
    rng = np.random.default_rng(seed)

    def one(path, leaf):
        name = path[-1].key
        std = 1.5 * leaf.shape[-2] ** -0.5 if name == "kernel" else 0.25
        return rng.normal(name == "scale", std, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(one, shapes)


def make_sampler(**options):
    """jitted f(params, prompts, key); f.traces holds the token shape of every compilation, f.lower is jit's."""
    group = options.pop("group")
    fixed = {"eos_token_ids": EOS, "pad_token_id": PAD, "allowed": jnp.asarray(ALLOWED), **options}
    decoder, traces = Decoder(MODEL, **fixed), []

    def program(params, prompts, key):
        traces.append(prompts.tokens.shape)
        return sample(decoder, params, prompts, key, group)

    jitted = quick_jit(program)
    call = lambda params, prompts, key: jax.tree.map(np.asarray, jitted(params, prompts, key))  # noqa: E731
    call.traces, call.lower = traces, jitted.lower
    return call


def text_prompts(lengths=(4, 7)):
    rng = np.random.default_rng(3)
    return pack([[text(rng, n)] for n in lengths], [[] for _ in lengths])


@cache
def _whole():
    return quick_jit(lambda params, prompts: MODEL.prefill(params, prompts)[0])


def sequence_logits(params, prompts, completion):
    """Logits float64[T + 1, V] that predict the T tokens of `completion` and the one after, of one prompt (B = 1).

    The prompt and the completion are one text without padding between them.
    """
    length = int(prompts.token_mask.sum())
    full = length + len(completion)
    P = max(prompts.tokens.shape[1] + 12, full)
    pad = lambda x: np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, P - x.shape[-1])])  # noqa: E731
    tokens, positions = pad(prompts.tokens), pad(prompts.positions)
    tokens[0, length:full] = completion
    positions[0, :, length:full] = prompts.next_position[0] + np.arange(len(completion))
    mask = np.arange(P)[None] < full
    hidden = _whole()(params, replace(prompts, tokens=tokens, positions=positions, token_mask=mask))
    table = np.asarray(MODEL.output_table(params), np.float64)
    return np.asarray(hidden, np.float64)[0, length - 1 : full] @ table.T


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def truncate_slowly(z, sampling):
    """Logits [V] / temperature, -inf outside top-k and the nucleus, straight from the definitions."""
    z = np.asarray(z, np.float64) / sampling.temperature
    if sampling.top_k:
        z = np.array([x if (z > x).sum() < sampling.top_k else -np.inf for x in z])
    if sampling.top_p < 1:
        p = np.exp(log_softmax(z))
        z = np.array([x if p[z > x].sum() < sampling.top_p else -np.inf for x in z])
    return z


def sample_slowly(params, prompts, key, group, length, sampling):
    """Rollouts of NumPy arrays, one completion after the other."""
    B = len(prompts.tokens)
    shape = (B, group, length)
    out = Rollouts(
        tokens=np.full(shape, PAD, np.int32),
        mask=np.zeros(shape, bool),
        log_probs=np.zeros(shape, np.float32),
        sampled_log_probs=np.zeros(shape, np.float32),
        finished=np.zeros(shape[:2], bool),
    )
    for b in range(B):
        one = select_prompts(prompts, [b])
        row_key = jax.random.fold_in(key, int(prompts.prompt_id[b]))
        for g in range(group):
            chosen = []
            while len(chosen) < length and not out.finished[b, g]:
                t = len(chosen)
                z = sequence_logits(params, one, chosen)[-1]
                z[~ALLOWED] = -np.inf
                if sampling.temperature == 0:
                    token, drawn_with = int(z.argmax()), 0.0
                else:
                    truncated = truncate_slowly(z, sampling)
                    at_t = jax.random.fold_in(jax.random.fold_in(row_key, g), t)
                    token = int((truncated + np.asarray(jax.random.gumbel(at_t, z.shape))).argmax())
                    drawn_with = log_softmax(truncated)[token]
                chosen.append(token)
                out.tokens[b, g, t], out.mask[b, g, t] = token, True
                out.log_probs[b, g, t], out.sampled_log_probs[b, g, t] = log_softmax(z)[token], drawn_with
                out.finished[b, g] = token in EOS
    return out
