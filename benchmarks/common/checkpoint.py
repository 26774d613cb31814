"""A HuggingFace directory with random weights to measure on, when no checkpoint is given."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import tokenizers

import rrft_jax

ASSETS = Path(rrft_jax.__file__).parent / "assets" / "nano"  # special tokens, chat template, image normalisation

# name: vocabulary, hidden size, layers, query heads, key-value heads, intermediate; tower depth, width, heads
SIZES = {
    "tiny": (512, 128, 2, 2, 1, 256, 2, 32, 2),
    "5.8M": (2048, 256, 4, 4, 2, 1024, 4, 128, 4),
    "38M": (4096, 512, 8, 8, 2, 2048, 6, 256, 4),
    "2B": (151936, 1536, 28, 12, 2, 8960, 32, 1280, 16),  # Qwen2-VL-2B
}


def model_config(size: str, vocabulary: int | None = None, layers: int | None = None):
    """The sizes of that name, in the published 2B's family; special tokens are the last ids but for padding rows."""
    from rrft_jax.models.registry import read_config_file

    published = read_config_file(ASSETS.parent / "sizes" / "2b.json")
    V, D, L, H, K, F, depth, width, heads = SIZES[size]
    V, L = vocabulary or V, layers or L
    A = D // H
    ids = special_ids(V)
    tower = replace(published.vision, depth=depth, embed_dim=width, num_heads=heads, hidden_size=D)
    return replace(
        published, vocab_size=V, hidden_size=D, intermediate_size=F, num_layers=L, num_heads=H, num_kv_heads=K,
        head_dim=A, mrope_section=(A // 8, 3 * A // 16, 3 * A // 16), vision=tower,
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
        eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"],
    )  # fmt: skip


def _specials() -> list[str]:
    config = json.loads((ASSETS / "tokenizer_config.json").read_text())
    return [config["pad_token"], *config["additional_special_tokens"]]


def special_ids(vocabulary: int) -> dict[str, int]:
    specials = _specials()
    first = min(vocabulary, 2048) - len(specials)
    return {token: first + k for k, token in enumerate(specials)}


def _tokenizer(vocabulary: int) -> tokenizers.Tokenizer:
    """Byte-level BPE with nano's rules over made-up words. At most 2,048 entries: further rows have no token."""
    tokenizer = tokenizers.Tokenizer.from_file(str(ASSETS / "tokenizer.json"))
    fresh = tokenizers.Tokenizer(tokenizers.models.BPE())
    fresh.normalizer, fresh.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    fresh.decoder, fresh.post_processor = tokenizer.decoder, tokenizer.post_processor
    specials = _specials()
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(2, 9))) for _ in range(2000)]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=min(vocabulary, 2048) - len(specials), show_progress=False,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    fresh.train_from_iterator((" ".join(rng.choice(words, 12)) for _ in range(2000)), trainer)
    fresh.add_special_tokens([tokenizers.AddedToken(t, normalized=False, special=True) for t in specials])
    assert fresh.get_vocab_size() == min(vocabulary, 2048), "the made-up words give too few merges"
    return fresh


def make_checkpoint(directory: str | Path, config, dtype: str = "float32") -> Path:
    """Writes weights (seed 0), tokenizer and processor files of a model of these sizes; returns the directory."""
    import jax

    from rrft_jax.models.registry import make_model
    from rrft_jax.models.weights import save_params

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    save_params(directory, config, make_model(config).init_params(jax.random.key(0)), dtype)
    _tokenizer(config.vocab_size).save(str(directory / "tokenizer.json"))
    shutil.copy(ASSETS / "chat_template.jinja", directory)
    shutil.copy(ASSETS / "tokenizer_config.json", directory)
    images = json.loads((ASSETS / "preprocessor_config.json").read_text())
    (directory / "preprocessor_config.json").write_text(json.dumps({**images, "max_pixels": 2048 * 2048}))
    ids = special_ids(config.vocab_size)
    stops = {"eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]], "pad_token_id": ids["<|endoftext|>"]}
    (directory / "generation_config.json").write_text(json.dumps(stops))
    return directory
