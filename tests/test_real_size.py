"""Real sizes: the published tokenizer, a 640x480 picture, and a model with every width of Qwen2-VL-2B.

The model is 2B-shaped but shallow, so that it fits a continuous-integration machine: hidden sizes, heads, patch merger
and the 151,936 rows of vocabulary are those of Qwen2-VL-2B-Instruct; 2 of its 28 decoder layers, 2 of its 32 vision
blocks. Weights are random.
"""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from rrft_jax.data.folder import read_records
from rrft_jax.data.index import Bucket
from rrft_jax.models.qwen2_vl.config import config_from_dict
from rrft_jax.models.qwen2_vl.model import Qwen2VL
from rrft_jax.models.score import score
from rrft_jax.models.vocabulary import allowed_tokens
from rrft_jax.processing.buckets import collate
from rrft_jax.processing.processor import decode, encode_completion, encode_prompt, load_processor
from rrft_jax.tasks.texts import cot_target
from rrft_jax.tasks.visual_counting.prompts import format_prompt

FIXTURES = Path(__file__).parent / "fixtures"
LAYERS, BLOCKS = 2, 2


@pytest.fixture(scope="module")
def processor():
    return load_processor(FIXTURES / "qwen2-tokenizer", max_pixels=480_000)


@pytest.fixture(scope="module")
def record():
    return read_records(FIXTURES / "super-clevr").examples[0]


@pytest.fixture(scope="module")
def encoded(processor, record):
    return encode_prompt(processor, format_prompt("COUNT_COT", record.problem), record.images)


def shallow_2b():
    full = config_from_dict(json.loads((FIXTURES / "qwen2-vl-configs" / "2b.json").read_text()))
    return replace(full, num_layers=LAYERS, vision=replace(full.vision, depth=BLOCKS))


def test_real_picture_and_question(processor, record, encoded):
    (patches,) = encoded.patches
    assert patches.shape == (34 * 46, 1176)  # 640x480 to the nearest multiples of 28: 644x476, in squares of 14
    visual = int((encoded.tokens == processor.image_token_id).sum())
    assert visual == len(patches) // 4 == 391
    # The published statistics put pixels between about -1.8 and 2.2 (mean 0.48, deviation 0.27 of 0 ... 1).
    assert -1.9 < patches.min() < 0 < patches.max() < 2.3 and patches.std() > 0.1
    text = processor.tokenizer.decode(encoded.tokens[encoded.tokens != processor.image_token_id])
    assert text == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|vision_end|>How many objects are there? "
        "Output the thinking process in <think> </think> and final answer (number) in <answer> </answer> tags."
        "<|im_end|>\n<|im_start|>assistant\n"
    )
    # M-RoPE: the picture spans 17 rows and 23 columns, and the text after it starts 23 behind its start.
    start = int(np.argmax(encoded.tokens == processor.image_token_id))
    np.testing.assert_array_equal(encoded.positions[:, start + visual], start + 23)
    np.testing.assert_array_equal(encoded.positions[:, start + visual - 1], [start, start + 16, start + 22])


def test_real_answer_round_trip(processor, record):
    target = cot_target(record)
    ids = encode_completion(processor, target)
    assert decode(processor, ids) == target and ids[-1] == 151645 and 90 < len(ids) < 192


@pytest.mark.slow
def test_one_forward_pass_of_a_shallow_2b(processor, record, encoded):
    config = shallow_2b()
    assert (config.hidden_size, config.intermediate_size, config.vocab_size) == (1536, 8960, 151_936)
    model = Qwen2VL(config, dtype="bfloat16", remat="none")
    allowed = allowed_tokens(config, processor.vocab_tokens, processor.eos_token_ids)
    # The tokenizer's 151,657 less vision_start, vision_end, vision_pad, image_pad, video_pad.
    assert allowed.sum() == 151_657 - 5 and allowed[[151_643, 151_645]].all()
    prompts = collate([encoded], [0], Bucket(512, 1, 1600), processor.pad_token_id)

    # Two completions of one prompt: the answer, and one of tokens that no completion may hold but its last.
    answer = encode_completion(processor, "<answer>\n7\n</answer>")
    forbidden = np.resize([151_652, 151_655, 151_656, 151_657, 151_935], len(answer))
    forbidden[-1] = processor.eos_token_ids[0]
    tokens = np.stack([answer, forbidden])[None].astype(np.int32)
    mask = np.ones(tokens.shape, bool)

    # Drawn on the host and stored in bfloat16, the dtype of the published weights: half the memory.
    params = random_params(model)
    program = jax.jit(partial(score, model))
    masked, entropy = jax.tree.map(np.asarray, program(params, prompts, tokens, mask, allowed))
    in_full, _ = jax.tree.map(np.asarray, program(params, prompts, tokens, mask, np.ones_like(allowed)))

    assert masked.dtype == np.float32 and masked.shape == (1, 2, len(answer))
    assert np.isfinite(masked).all() and np.isfinite(in_full).all() and np.isfinite(entropy).all()
    inside = allowed[tokens]
    assert (masked[~inside] < -1e29).all() and (in_full[~inside] > -60).all()
    assert (masked[inside] > -60).all()
    # The mask only takes tokens away: what is left grows, by little, since it takes 284 of 151,936 tokens.
    gain = (masked - in_full)[inside]
    assert (gain >= -1e-3).all() and (gain < 0.1).all() and (gain > 0).any()
    assert (entropy < np.log(allowed.sum()) + 1e-3).all() and (entropy > 1).all()


def random_params(model):
    """bfloat16 parameters in the shapes of init_params: normal with fan-in scaling, norms 1, biases 0."""
    shapes = jax.eval_shape(lambda key: model.init_params(key), jax.random.key(0))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        name = path[-1].key
        if name in ("scale", "bias"):
            return jax.numpy.full(leaf.shape, float(name == "scale"), "bfloat16")
        width = 0.02 if name == "embedding" else leaf.shape[-2] ** -0.5
        return jax.numpy.asarray(rng.standard_normal(leaf.shape, np.float32) * np.float32(width), "bfloat16")

    return jax.tree_util.tree_map_with_path(draw, shapes)
