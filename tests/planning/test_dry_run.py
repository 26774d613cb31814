"""What `launch/train.py --dry-run` and `launch/compile.py --plan` print, and their exit codes."""

import re
from pathlib import Path

import jax
import pytest

from rrft_jax.config.command_line import ConfigError, load_config
from rrft_jax.config.defaults import base_config
from rrft_jax.parallel.chips import GIB, topology_devices
from rrft_jax.planning.dry_run import dry_run
from rrft_jax.planning.measured import with_buckets
from rrft_jax.pretrained import read_sizes

RECIPES = Path(__file__).parents[2] / "configs"


def test_dry_run_prints_and_makes_nothing(capsys, monkeypatch):
    config = base_config()
    config.init = "2b"
    made = []
    monkeypatch.setattr(jax, "device_put", lambda *a, **k: made.append(a))
    before = len(jax.live_arrays())
    assert dry_run(config) == 0
    out = capsys.readouterr().out
    assert not made and len(jax.live_arrays()) - before < 5
    for word in (
        "reference policy",
        "optimizer",
        "KV cache",
        "activations",
        "logits of a chunk",
        "host",
        "visual tokens",
    ):
        assert word in out


def planned(text):
    """The most that a device holds, in GiB, of each plan in `text`."""
    return [float(x) for x in re.findall(r"at most ([0-9.]+) GiB planned", text)]


def test_every_stage_of_a_recipe_is_planned(capsys):
    recipe = load_config(f"{RECIPES / 'reason_rft.py'}:counting,2b")
    assert dry_run(recipe, capacity=2**60) == 0
    out = capsys.readouterr().out
    both = planned(out)
    assert len(both) == 2 and out.index("stage 1 of 2, sft") < out.index("stage 2 of 2, grpo")
    alone = recipe.stage1.copy_and_resolve_references()
    assert dry_run(alone, capacity=2**60) == 0
    assert planned(capsys.readouterr().out) == both[:1]


@pytest.mark.parametrize("small", [0, 1])
def test_a_stage_that_does_not_fit_alone_decides(capsys, small):
    recipe = load_config(f"{RECIPES / 'reason_rft.py'}:counting,2b")
    stage = (recipe.stage1, recipe)[1 - small]  # the other one gets more to hold
    stage.train.prompts *= 16
    dry_run(recipe, capacity=2**60)
    both = planned(capsys.readouterr().out)
    assert both[1 - small] > both[small]
    assert dry_run(recipe, capacity=int(sum(both) / 2 * 2**30)) == 1
    out = capsys.readouterr().out
    assert out.count("DOES NOT FIT") == 1


@pytest.mark.parametrize(
    ("recipe", "topology", "most"),
    [
        # One card, base in 4 bits, adapters on decoder and tower: by hand about 6 GiB of base, adapter and moments.
        ("grpo_counting.py:qwen2.5-vl-7b,24gb", "gpu:24", 20.9),
        ("grpo_counting.py:qwen2.5-vl-7b,16gb", "gpu:16", 13.8),
        ("grpo_counting.py:qwen3-vl-8b,24gb", "gpu:24", 20.9),
        # Published settings, on a box of eight: a picture has up to 6,122 visual tokens, which a prompt must hold.
        ("ui_venus.py:screen,qwen2.5-vl-7b,paper", "gpu:141x8", 132.7),
        ("continual.py:structure,qwen2.5-vl-7b", "gpu:80x8", 75.2),
    ],
)
def test_recipes_of_the_other_families_fit_the_cards_they_are_for(recipe, topology, most, capsys):
    config, (devices, chip) = load_config(f"{RECIPES / recipe}"), topology_devices(topology)
    sizes = read_sizes(config.init)
    assert config.init.startswith("qwen") and chip.hbm / GIB == pytest.approx(most, abs=0.1)
    assert max(config.buckets.prompt) > max(config.buckets.patches) // sizes.vision.spatial_merge_size**2
    assert dry_run(config, sizes, devices, chip.hbm, chip.name) == 0
    (planned_most,) = planned(capsys.readouterr().out)
    assert 6 < planned_most < most


def test_a_card_is_for_published_sizes_and_a_name_that_exists():
    for argument, message in (
        ("24gb", "config argument 24gb is for a published size such as qwen2.5-vl-7b, not for nano"),
        ("7b,16gb,paper", "config argument 16gb is .* not for paper, whose settings are those of full fine-tuning"),
        ("7b,12gb", "'12gb' is not known"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config(f"{RECIPES / 'grpo_counting.py'}:{argument}")
    for shape in ("23", "24x0", "24x00", "24x", "024", "24x8x", "24x99999", "²", "24x²", ""):
        topology = f"gpu:{shape}"
        with pytest.raises(ValueError, match=f"topology='{topology}': give gpu:SIZE, a card of 16, 24, 40, 80, 141 GB"):
            topology_devices(topology)
    for topology in ("cpu:0", "cpu:²", "cpu:99999", "cpu:-1", "v5e:0x4", "v5e:4x", "v5e:4", "v5e", "local:1", ""):
        with pytest.raises(ValueError, match=f"topology='{topology}': give KIND:SHAPE"):
            topology_devices(topology)


def test_stages_that_disagree_are_refused():
    recipe = load_config(f"{RECIPES / 'reason_rft.py'}:counting,2b")
    recipe.stage1.init = "7b"
    with pytest.raises(ValueError, match="config.init='2b', but config.stage1.init='7b'"):
        dry_run(recipe)


def test_buckets_that_are_left_to_the_data_are_measured(capsys):
    """As the run will measure them; a size alone has no tokenizer for it."""
    folder = RECIPES.parent / "tests" / "fixtures" / "super-clevr"
    config = load_config(f"{RECIPES / 'grpo_counting.py'}:data={folder}")
    measured = with_buckets(config)
    assert measured.buckets.to_dict() == {"prompt": (480,), "images": (1,), "patches": (1568,)}
    assert config.buckets.prompt == ("auto",) and with_buckets(measured) is measured
    assert dry_run(config) == 0 and "480" in capsys.readouterr().out
    config.init = "2b"
    with pytest.raises(ValueError, match="init=2b has none: give a directory, or sizes"):
        dry_run(config)
    config.data.folder = ""
    with pytest.raises(ValueError, match="config.buckets=auto are chosen from the records of a folder"):
        dry_run(config)


def test_a_judge_that_borrows_the_base_is_planned(capsys, tmp_path):
    """7B on one device: no second copy of the weights, but its chats' caches, by hand."""
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 16, "lora_alpha": 32}')
    (tmp_path / "adapter_model.safetensors").write_bytes((8).to_bytes(8, "little") + b"{}      ")
    text = f"{RECIPES / 'llm_judge.py'}:7b,data=/data/gsm8k,adapter={tmp_path}"
    config = load_config(text)
    assert dry_run(config, capacity=2**60) == 0
    out = capsys.readouterr().out
    (tokens,) = map(int, re.findall(r"KV cache of 16 chats of (\d+) tokens", out))
    assert 2048 < tokens <= 3072  # about 1,300 characters, a question of 1,024 tokens, two completions of 512
    gib = 2 * 28 * 16 * 4 * tokens * 128 * 2 / 2**30  # keys and values of 28 layers, 4 heads of 128, bfloat16
    (said,) = re.findall(r"16 chats of \d+ tokens +([0-9.]+) GiB", out)
    assert float(said) == pytest.approx(gib, abs=1e-3)
    with_judge = float(re.findall(r"frozen base answers, with what is resident +([0-9.]+) GiB", out)[0])
    resident = float(re.findall(r"resident all the time +([0-9.]+) GiB", out)[0])
    assert resident + gib < with_judge < resident + gib + 20 and resident < 17  # 15 of the base, and the adapters
    served = load_config(f"{RECIPES / 'llm_judge.py'}:7b,data=/data/gsm8k,endpoint")
    served.reward_options.llm_judge.update({"url": "http://127.0.0.1:8000/v1", "model": "judge"})
    dry_run(served)
    assert "frozen base answers" not in capsys.readouterr().out
