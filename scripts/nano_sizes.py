"""The sizes of the bundled model, told once for both of its pre-training scripts."""

from rrft_jax.models.qwen2_vl.config import Qwen2VLConfig, VisionConfig
from rrft_jax.processing.processor import Processor


def nano_config(processor: Processor) -> Qwen2VLConfig:
    vocab_size = -(-processor.vocab_tokens // 64) * 64  # rows beyond the tokenizer keep shapes round
    return Qwen2VLConfig(
        vocab_size=vocab_size, hidden_size=128, intermediate_size=384, num_layers=4, num_heads=4, num_kv_heads=2,
        head_dim=32, mrope_section=(4, 6, 6), tie_word_embeddings=True, max_position_embeddings=4096,
        image_token_id=processor.image_token_id, video_token_id=processor.video_token_id,
        vision_start_token_id=processor.vision_start_token_id, vision_end_token_id=processor.vision_end_token_id,
        eos_token_id=processor.eos_token_ids[0], pad_token_id=processor.pad_token_id,
        vision=VisionConfig(depth=3, embed_dim=128, num_heads=4, hidden_size=128, mlp_ratio=3),
    )  # fmt: skip
