"""The processor of a directory: vocabulary, limits, saving, and prompts as arrays."""

import json
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

from rrft_jax.models.registry import read_config
from rrft_jax.processing.encoded import from_hf
from rrft_jax.processing.positions import patch_positions
from rrft_jax.processing.processor import (
    decode,
    encode_completion,
    encode_prompt,
    load_processor,
    measure,
    save_processor,
)
from tests.golden import golden_path, trl_folders


def test_tokenizer_vectors(qwen, qwen_directory):
    path = qwen_directory / "ggml-vocab-qwen2.gguf"
    texts = path.with_suffix(".gguf.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")[:-1]
    lines = path.with_suffix(".gguf.out").read_text().split("\n")[: len(texts)]
    assert len(texts) == 46
    for text, line in zip(texts, lines, strict=True):
        assert encode_completion(qwen, text)[:-1].tolist() == [int(i) for i in line.split()], text


def test_ids_of_the_real_vocabulary(qwen):
    assert (qwen.image_token_id, qwen.video_token_id) == (151655, 151656)
    assert (qwen.vision_start_token_id, qwen.vision_end_token_id) == (151652, 151653)
    assert qwen.eos_token_ids == (151645, 151643) and qwen.pad_token_id == 151643 and qwen.vocab_tokens == 151657


def test_ids_of_nano(nano):
    assert nano.vocab_tokens == len(nano.tokenizer) == nano.video_token_id + 1
    assert nano.eos_token_ids == (nano.specials["<|im_end|>"], nano.specials["<|endoftext|>"])
    assert len(nano.specials) == 14


def test_completion_round_trip(nano, qwen):
    text = "<think>\nObjects: small purple rubber sphere no. Total: 1.\n</think>\n<answer>\n1\n</answer>"
    for processor in (nano, qwen):
        ids = encode_completion(processor, text)
        assert ids.dtype == np.int32 and ids[-1] == processor.eos_token_ids[0]
        assert decode(processor, ids) == text


def test_decode_stops_at_the_first_eos_and_skips_specials(nano):
    a, b = encode_completion(nano, "one")[:-1].tolist(), encode_completion(nano, " two")[:-1].tolist()
    for eos in nano.eos_token_ids:
        assert decode(nano, [*a, nano.vision_start_token_id, *b, eos, *a]) == "one two"
    assert decode(nano, []) == "" and decode(nano, [nano.eos_token_ids[1]]) == ""
    assert decode(nano, [*a, nano.vocab_tokens + 5]) == "one"  # a row beyond the tokenizer has no text


def test_prompt_with_images_of_two_sizes(qwen):
    images = [np.zeros((84, 56, 3), np.uint8), Image.new("RGB", (640, 480), "red")]
    encoded = encode_prompt(qwen, "Compare.", images)
    size = measure(qwen, "Compare.", [(84, 56), (480, 640)])
    assert encoded.size == size and size.patches[0] == 24
    assert (encoded.tokens == qwen.image_token_id).sum() * 4 == sum(size.patches)
    assert encoded.positions.shape == (3, size.prompt_tokens) and encoded.next_position == encoded.positions[0, -1] + 1
    np.testing.assert_array_equal(encoded.patch_positions[0], patch_positions(6, 4, 2))
    # The text between two images ("<|vision_end|><|vision_start|>") moves all three components alike.
    assert (encoded.positions[:, -1] == encoded.positions[0, -1]).all()


def test_prompt_with_video_has_a_slot_per_frame_pair(nano):
    encoded = encode_prompt(
        nano, "What moves?", [np.zeros((56, 56, 3), np.uint8)], [[np.zeros((56, 84, 3), np.uint8)] * 3]
    )
    assert encoded.size.patches == (16, 24, 24)
    video = encoded.tokens == nano.video_token_id
    assert video.sum() == 12 and (encoded.tokens == nano.image_token_id).sum() == 4
    np.testing.assert_array_equal(encoded.positions[0, video] - encoded.positions[0, video][0], [0] * 6 + [1] * 6)


def test_slots_follow_the_order_of_tokens_not_of_kinds():
    image, video = np.full((4, 1176), 1, np.float32), np.full((8, 1176), 2, np.float32)
    encoded = from_hf([9, 8, 8, 9, 7, 9], 7, 8, image, [(1, 2, 2)], video, [(2, 2, 2)])
    assert [float(p[0, 0]) for p in encoded.patches] == [2, 2, 1] and encoded.size.patches == (4, 4, 4)


def test_patches_that_disagree_with_grids_are_refused():
    with pytest.raises(ValueError, match=r"pixel_values has 3 patches, its grids \[\(1, 2, 2\)\] have 4"):
        from_hf([7], 7, 8, np.zeros((3, 1176)), [(1, 2, 2)])
    with pytest.raises(ValueError, match="pixel_values_videos has 4 patches"):
        from_hf([1], 7, 8, pixel_values_videos=np.zeros((4, 1176)))


def test_limits_come_from_the_directory_or_the_caller(nano, nano_directory):
    assert (nano.min_pixels, nano.max_pixels) == (56 * 56, 112 * 112)
    assert measure(nano, "", [(112, 112)]).patches == (64,)
    small = measure(nano, "", [(480, 640)]).patches[0]
    large = measure(load_processor(nano_directory, max_pixels=224 * 224), "", [(480, 640)]).patches[0]
    assert small <= 64 < large <= 256
    assert measure(load_processor(nano_directory, min_pixels=112 * 112), "", [(56, 56)]).patches == (64,)
    with pytest.raises(ValueError, match="min_pixels 50000 must be positive and at most max_pixels 12544"):
        load_processor(nano_directory, min_pixels=50000)


def test_save_and_load_give_the_same_processor(nano_directory, tmp_path):
    processor = load_processor(nano_directory, min_pixels=784, max_pixels=50176)
    save_processor(processor, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text())
    assert (config["min_pixels"], config["max_pixels"]) == (784, 50176)
    again = load_processor(tmp_path / "out", sizes=read_config(nano_directory))
    same = (
        "min_pixels max_pixels image_token_id video_token_id eos_token_ids pad_token_id vocab_tokens specials".split()
    )
    assert all(getattr(again, name) == getattr(processor, name) for name in same)
    assert again.generation_config == processor.generation_config
    image = np.random.default_rng(0).integers(0, 256, (100, 130, 3), np.uint8)
    for text in ("How many?", " <|im_end|> \n\n é 12"):
        one, two = (encode_prompt(p, text, [image]) for p in (processor, again))
        np.testing.assert_array_equal(one.tokens, two.tokens)
        np.testing.assert_array_equal(one.patches[0], two.patches[0])


def test_without_generation_config_the_end_of_turn_is_the_eos(nano, nano_directory, tmp_path):
    shutil.copytree(nano_directory, tmp_path / "m", ignore=shutil.ignore_patterns("generation*", "*.safetensors"))
    processor = load_processor(tmp_path / "m")
    assert processor.eos_token_ids == nano.eos_token_ids[:1]
    save_processor(processor, tmp_path / "out")
    assert not (tmp_path / "out" / "generation_config.json").exists()


def test_template_may_stand_in_chat_template_json(nano, nano_directory, tmp_path):
    shutil.copytree(nano_directory, tmp_path / "m", ignore=shutil.ignore_patterns("*.safetensors"))
    template = (tmp_path / "m" / "chat_template.jinja").read_text()
    (tmp_path / "m" / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="no chat template in"):
        load_processor(tmp_path / "m")
    (tmp_path / "m" / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    tokens = encode_prompt(load_processor(tmp_path / "m"), "Hello").tokens
    np.testing.assert_array_equal(tokens, encode_prompt(nano, "Hello").tokens)


def test_unusable_directories_are_named(nano_directory, tmp_path):
    with pytest.raises(FileNotFoundError, match="config.json not found"):
        load_processor(tmp_path)
    shutil.copytree(nano_directory, tmp_path / "m", ignore=shutil.ignore_patterns("*.safetensors"))
    config = tmp_path / "m" / "preprocessor_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "patch_size": 16}))
    with pytest.raises(ValueError, match="preprocessor_config.json: {'patch_size': 16} is not config.json's"):
        load_processor(tmp_path / "m")
    config.write_text("{")
    with pytest.raises(ValueError, match="preprocessor_config.json: not valid JSON"):
        load_processor(tmp_path / "m")


def test_threads_share_a_processor(nano):
    texts = [f"{i} <|im_end|> objects?" for i in range(40)]
    expected = [encode_prompt(nano, t).tokens.tolist() for t in texts]
    found = {}

    def work(k):
        found[k] = [encode_prompt(nano, t).tokens.tolist() for t in texts]
        nano.tokenizer(texts[k])  # the shared tokenizer's own switch must not reach ours

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[k] == expected for k in range(4))


@pytest.mark.parametrize("name", trl_folders())
def test_golden_rows_are_read_and_their_patches_made_again(name, qwen):
    """The golden batches hold HuggingFace's inputs of left-padded rows, and the images they came from."""
    batch = np.load(golden_path(f"{name}/batch.npz"))
    ids = json.loads(golden_path(f"{name}/model/config.json").read_text())
    grids, start = batch["image_grid_thw"], 0
    made = [encode_prompt(qwen, "", [image]).patches[0] for image in batch["images"]]
    for tokens, mask, grid in zip(batch["prompt_ids"], batch["prompt_mask"], grids, strict=True):
        stop = start + int(np.prod(grid))
        row = tokens[mask.astype(bool)]
        encoded = from_hf(
            row, ids["image_token_id"], ids["video_token_id"], batch["pixel_values"][start:stop], [tuple(grid)]
        )
        assert encoded.size.patches == (stop - start,)
        assert any(np.array_equal(encoded.patches[0], patches) for patches in made)
        start = stop
    assert start == len(batch["pixel_values"])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("tokenizer.json", None, "tokenizer.json not found: give a whole"),
        ("chat_template.jinja", None, "no chat template in .*: copy chat_template.jinja"),
        ("preprocessor_config.json", {"image_processor_type": "CLIPImageProcessor"},
         "preprocessor_config.json: with its image_processor_type 'CLIPImageProcessor' .* vision_config in"),
        ("config.json", "mark", "config.json: begins with a byte order mark"),
        ("tokenizer_config.json", "mark", "tokenizer_config.json: begins with a byte order mark"),
    ],
)  # fmt: skip
def test_the_file_to_mend_is_named(nano_directory, tmp_path, name, change, message):
    shutil.copytree(nano_directory, tmp_path / "m", ignore=shutil.ignore_patterns("*.safetensors"))
    file = tmp_path / "m" / name
    if change is None:
        file.unlink()
    elif change == "mark":
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    else:
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        load_processor(tmp_path / "m")
    assert "\n" not in str(caught.value)
