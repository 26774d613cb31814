"""Small models and prompts for the model tests, built without the package's own processing.

A prompt is a list of segments: a list of token ids, or a `Visual`. The M-RoPE rule (arXiv 2409.12191, section 2.1, as
transformers 5 reads it) is written out here a second time, in plain loops, and compared with its own in test_parity.py.
"""

from dataclasses import dataclass
from functools import partial

import jax
import numpy as np

from rrft_jax.models.prompts import Prompts
from rrft_jax.models.qwen2_vl.config import Qwen2VLConfig, VisionConfig
from rrft_jax.models.weights import abstract_params

IMAGE, VIDEO, START, END = 57, 58, 54, 55

VISION = VisionConfig(depth=2, embed_dim=16, num_heads=2, hidden_size=32, mlp_ratio=2)
TINY = Qwen2VLConfig(
    vocab_size=61,
    hidden_size=32,
    intermediate_size=48,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    mrope_section=(2, 1, 1),
    vision=VISION,
    image_token_id=IMAGE,
    video_token_id=VIDEO,
    vision_start_token_id=START,
    vision_end_token_id=END,
    eos_token_id=52,
    pad_token_id=50,
)

# Tests compile much and compute little: so set, XLA compiles them in a fifth of the time.
QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
quick_jit = partial(jax.jit, compiler_options=QUICK)


@dataclass(frozen=True)
class Visual:
    """An image (frames == 1) or a video of `frames` frame pairs; h, w in patches, both even. interval: positions of
    M-RoPE's time between frame pairs."""

    h: int
    w: int
    frames: int = 1
    video: bool = False
    interval: float = 1


def tiny_params(config=TINY, seed=0):
    """Random parameters, biases and norms too, of a size at which all parts matter and rounding is not blown up."""
    rng = np.random.default_rng(seed)

    def one(path, leaf):
        kind = path[-1].key
        spread = {"kernel": leaf.shape[-2:][0] ** -0.5, "embedding": 0.3, "scale": 0.1, "bias": 0.1}[kind]
        return ((kind == "scale") + spread * rng.normal(size=leaf.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(one, abstract_params(config))


def text(rng, length):
    """`length` ordinary tokens."""
    return rng.integers(0, 50, length).tolist()


def merge_order(h, w):
    """(row, column) int[h*w, 2] of the patches of an h x w grid, the four of each 2x2 square in a row."""
    cells = [(r + i, c + j) for r in range(0, h, 2) for c in range(0, w, 2) for i in (0, 1) for j in (0, 1)]
    return np.array(cells, np.int32).reshape(-1, 2)


def spell(segments, config=TINY):
    """Token ids of a prompt, every visual between vision_start and vision_end."""
    tokens = []
    for s in segments:
        if isinstance(s, Visual):
            pad = config.video_token_id if s.video else config.image_token_id
            count = s.frames * s.h * s.w // 4
            tokens += [config.vision_start_token_id, *[pad] * count, config.vision_end_token_id]
        else:
            tokens += s
    return tokens


def rope_positions(segments):
    """(positions int32[3, length], next position): text counts on; a visual is a (frame, row, column) grid."""
    columns, now = [], 0
    for s in segments:
        if isinstance(s, Visual):
            h, w = s.h // 2, s.w // 2
            columns.append((now,) * 3)
            grid = [(int(f * s.interval), r, c) for f in range(s.frames) for r in range(h) for c in range(w)]
            columns += [tuple(now + 1 + i for i in cell) for cell in grid]
            now += 1 + max(h, w)  # frames do not count, even where there are more of them than rows
            columns.append((now,) * 3)
            now += 1
        else:
            columns += [(now + i,) * 3 for i in range(len(s))]
            now += len(s)
    return np.array(columns, np.int32).T, now


def slots(segments):
    """(h, w) of every image and frame pair, in order."""
    return [(s.h, s.w) for s in segments if isinstance(s, Visual) for _ in range(s.frames)]


def random_patches(rng, segments, width=1176):
    """float32[h*w, width] for every slot."""
    return [rng.normal(size=(h * w, width)).astype(np.float32) for h, w in slots(segments)]


def pack(prompts, patches, config=TINY, extra=(0, 0, 0), skip=()):
    """Prompts of B lists of segments and their patches; `extra` (P, I, n) more padding than needed.

    skip: slot numbers left empty in every row. Padding holds rubbish on purpose: nothing may depend on it.
    """
    B = len(prompts)
    tokens = [spell(p, config) for p in prompts]
    P = max(map(len, tokens)) + extra[0]
    I = max(len(x) for x in patches) + len(skip) + extra[1]
    n = max((len(x) for row in patches for x in row), default=0) + extra[2]
    rng = np.random.default_rng(99)
    width = config.vision.patch_dim
    out = Prompts(
        prompt_id=np.arange(B, dtype=np.int32),
        tokens=rng.integers(0, config.vocab_size, (B, P)).astype(np.int32),
        token_mask=np.zeros((B, P), bool),
        positions=rng.integers(0, 9, (B, 3, P)).astype(np.int32),
        next_position=np.zeros(B, np.int32),
        patches=rng.normal(size=(B, I, n, width)).astype(np.float32),
        patch_mask=np.zeros((B, I, n), bool),
        patch_position=rng.integers(0, 9, (B, I, n, 2)).astype(np.int32),
    )
    free = [i for i in range(I) if i not in skip]
    for b, (segments, row) in enumerate(zip(prompts, patches, strict=True)):
        length = len(tokens[b])
        out.tokens[b, :length] = tokens[b]
        out.token_mask[b, :length] = True
        out.positions[b, :, :length], out.next_position[b] = rope_positions(segments)
        for i, (h, w), x in zip(free, slots(segments), row, strict=False):
            out.patches[b, i, : h * w] = x
            out.patch_mask[b, i, : h * w] = True
            out.patch_position[b, i, : h * w] = merge_order(h, w)
    return out


def random_prompts(seed=0, config=TINY, **padding):
    """Prompts of unequal length: two images of different sizes, one image, a video of three frame pairs, text alone."""
    rng = np.random.default_rng(seed)
    prompts = [
        [text(rng, 3), Visual(4, 2), text(rng, 2), Visual(4, 6), text(rng, 4)],
        [Visual(2, 6), text(rng, 3)],
        [text(rng, 2), Visual(2, 4, frames=3, video=True), text(rng, 1)],
        [text(rng, 7)],
    ]
    return pack(prompts, [random_patches(rng, p) for p in prompts], config, **padding)


def select_prompts(prompts, rows):
    """The prompts of these row numbers, int[B'], repeated where a number is."""
    return jax.tree.map(lambda x: x[rows], prompts)


def random_completions(seed, batch, group, length):
    """tokens int32[B, G, C] and right-padded mask bool[B, G, C]; padded tokens are rubbish."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 50, (batch, group, length)).astype(np.int32)
    lengths = rng.integers(1, length + 1, (batch, group, 1))
    lengths.flat[0] = length
    return tokens, np.arange(length) < lengths
