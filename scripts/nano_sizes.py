"""The sizes of the bundled model, shared by both of its pre-training scripts."""

from dataclasses import replace

import jax
import optax
from optax.contrib import MuonDimensionNumbers

from rrft_jax.models.protocol import Sizes
from rrft_jax.pretrained import read_sizes
from rrft_jax.processing.processor import Processor


def published() -> Sizes:
    """What nano takes from the published 2B: the family, and how pictures are cut into patches."""
    return read_sizes("2b")


def nano_config(processor: Processor) -> Sizes:
    vocab_size = -(-processor.vocab_tokens // 64) * 64  # rows beyond the tokenizer keep shapes round
    return replace(
        published(), vocab_size=vocab_size, hidden_size=128, intermediate_size=384, num_layers=4, num_heads=4,
        num_kv_heads=2, head_dim=32, mrope_section=(4, 6, 6), tie_word_embeddings=True, max_position_embeddings=4096,
        image_token_id=processor.image_token_id, video_token_id=processor.video_token_id,
        vision_start_token_id=processor.vision_start_token_id, vision_end_token_id=processor.vision_end_token_id,
        eos_token_id=processor.eos_token_ids[0], pad_token_id=processor.pad_token_id,
        vision=replace(published().vision, depth=3, embed_dim=128, num_heads=4, hidden_size=128, mlp_ratio=3),
    )  # fmt: skip


def make_pretraining_optimizer(peak: float, steps: int) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Muon on the matrices of the layers, Adam on everything else; 100 steps of warm-up, cosine to 0."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, peak, min(100, steps // 4), steps)

    def matrices(params):
        last = lambda path: getattr(path[-1], "key", None)  # noqa: E731
        return jax.tree_util.tree_map_with_path(
            lambda path, x: MuonDimensionNumbers(x.ndim - 2, x.ndim - 1) if last(path) == "kernel" else None, params
        )

    muon = optax.contrib.muon(
        schedule, weight_decay=0.05, adam_b2=0.98, muon_weight_dimension_numbers=matrices, consistent_rms=0.2
    )
    return optax.chain(optax.clip_by_global_norm(1.0), muon), schedule
