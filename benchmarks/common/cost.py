"""The minimum cost of a phase: FLOPs of its products and bytes it must move, from the config and the shapes alone.

Shared-prefix count: tower and prompt once per prompt, and of a prompt's tokens but the last only keys and values in the
last layer, since nothing else of it is read. Only products count (2 m n k); attention inside a completion counts the
causal half. A backward pass is twice its forward pass.
"""

from dataclasses import dataclass

from rrft_jax.models.protocol import Sizes, TowerWork
from rrft_jax.models.registry import family_of


@dataclass(frozen=True)
class Shapes:
    """B prompts of P tokens with I pictures of n patches each; G completions of C tokens."""

    B: int
    G: int
    P: int
    C: int
    I: int  # noqa: E741
    n: int


# The paper: 8 completions a prompt; a 480,000-pixel picture is at most 2,448 patches, 612 visual tokens.
PAPER = Shapes(B=2, G=8, P=1024, C=512, I=1, n=2448)
TINY = Shapes(B=2, G=2, P=64, C=8, I=1, n=16)


@dataclass(frozen=True)
class Cost:
    flops: float
    bytes: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.flops + other.flops, self.bytes + other.bytes)

    def floor(self, flops_per_s: float, bytes_per_s: float) -> float:
        """Seconds: products and traffic may overlap, so the longer of the two."""
        return max(self.flops / flops_per_s, self.bytes / bytes_per_s)


def kv_weights(c: Sizes) -> int:
    """Entries of the kernels that make keys and values in one decoder layer."""
    return 2 * c.hidden_size * c.head_dim * c.num_kv_heads


def layer_weights(c: Sizes) -> int:
    """Entries of the kernels of one decoder layer."""
    D, A = c.hidden_size, c.head_dim
    return 2 * D * A * c.num_heads + kv_weights(c) + 3 * D * c.intermediate_size


def tower_work(c: Sizes, s: Shapes) -> TowerWork:
    """The tower's products, which its family counts. ValueError where it does not."""
    family = family_of(c)
    if family.tower_work is None:
        raise ValueError(f"the family {family.model_type} does not say what its tower computes (Family.tower_work)")
    return family.tower_work(c, s.n)


def tower(c: Sizes, s: Shapes) -> float:
    """FLOPs of one forward pass of the vision tower over B * I pictures."""
    w = tower_work(c, s)
    patches = s.B * s.I * s.n
    return patches * (2 * (w.embed + w.blocks) + 2 * w.merged / _merged(c) + 4 * c.vision.embed_dim * w.keys)


def _merged(c: Sizes) -> int:
    """Patches of a visual token."""
    return c.vision.spatial_merge_size**2


def _layers(c: Sizes, tokens: float, keys: float) -> float:
    """FLOPs of the decoder's layers over `tokens`, each of which sees `keys` keys on average."""
    return c.num_layers * tokens * (2 * layer_weights(c) + 4 * c.num_heads * c.head_dim * keys)


def pairs(c: Sizes, s: Shapes) -> float:
    """Queries times keys in all layers over the prompts: the causal half of each, and one query in the last layer."""
    return (c.num_layers - 1) * s.B * s.P * s.P / 2 + s.B * s.P


def _prompt(c: Sizes, s: Shapes) -> float:
    """FLOPs of the decoder's layers over the prompts."""
    whole = (c.num_layers - 1) * s.B * s.P * layer_weights(c)
    last = s.B * s.P * kv_weights(c) + s.B * (layer_weights(c) - kv_weights(c))
    return 2 * (whole + last) + 4 * c.num_heads * c.head_dim * pairs(c, s)


def _head(c: Sizes, tokens: float) -> float:
    return 2 * tokens * c.vocab_size * c.hidden_size


def phases(c: Sizes, s: Shapes, weight_bytes: int = 4, cache_bytes: int = 4) -> dict[str, Cost]:
    """Minimum cost of prefill, decode, reference (one scoring pass) and update (scoring forward and backward)."""
    rows = s.B * s.G
    decoder = c.num_layers * layer_weights(c)
    head = c.vocab_size * c.hidden_size
    work = tower_work(c, s)
    vision = work.embed + work.blocks + work.merged
    kv = 2 * c.num_layers * c.num_kv_heads * c.head_dim * cache_bytes  # of one token
    prefill = Cost(tower(c, s) + _prompt(c, s), (decoder + vision) * weight_bytes + s.B * s.P * kv)
    decode = Cost(
        _layers(c, rows * (s.C - 1), s.P + s.C / 2) + _head(c, rows * s.C),
        # Weights, prompt cache and the live half of the completion caches, once a token; nothing follows the last one.
        s.C * head * weight_bytes + (s.C - 1) * (decoder * weight_bytes + s.B * s.P * kv + rows * s.C / 2 * kv),
    )
    scoring = Cost(
        prefill.flops + _layers(c, rows * (s.C - 1), s.P + s.C / 2) + _head(c, rows * s.C),
        (decoder + vision + head) * weight_bytes,
    )
    # Backward: both gradients of every product but the one with respect to the pixels. AdamW: read parameter, gradient
    # and two moments, write three.
    update = Cost(
        3 * scoring.flops - 2 * s.B * s.I * s.n * work.embed, (2 * 1 + 7) * (decoder + vision + head) * weight_bytes
    )
    return {"prefill": prefill, "decode": decode, "reference": scoring, "update": update}


def rematerialised(c: Sizes, s: Shapes, remat: str) -> float:
    """FLOPs the update repeats on purpose: the LM head of every chunk and attention's scores; with remat "full" all
    blocks of tower and decoder as well."""
    again = _head(c, s.B * s.G * s.C)
    own, seen = s.B * s.G * (s.C - 1), s.P + s.C / 2
    work, patches = tower_work(c, s), s.B * s.I * s.n
    again += 2 * c.vision.embed_dim * patches * work.keys
    again += 2 * c.num_heads * c.head_dim * (pairs(c, s) + c.num_layers * own * seen)
    if remat == "full":
        outside = 2 * patches * (work.embed + work.merged / _merged(c))  # of the tower's blocks
        again += tower(c, s) - outside + _prompt(c, s) + _layers(c, own, seen)
    return again
