"""What the preset `paper` switches on, numbered as the rows of docs/paper_mode.md; and that table itself."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

from rrft_jax.config.command_line import load_config
from rrft_jax.config.groups import read
from rrft_jax.evaluation import questions, sources
from rrft_jax.evaluation.benchmarks import choose_benchmarks
from rrft_jax.losses import Scores, Targets, grpo_loss, total
from rrft_jax.models.paths import leaf_paths
from rrft_jax.parallel.layout import one_row_each
from rrft_jax.pretrained import resolve_init
from rrft_jax.processing.images import shrunk
from rrft_jax.processing.processor import load_processor
from rrft_jax.rewards import registry
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.algorithms.grpo import GRPO, loss_config
from rrft_jax.training.optimizer import make_schedule
from rrft_jax.training.parameters import partition
from rrft_jax.training.programs import StepLayout, make_programs
from rrft_jax.training.source import make_source
from tests.models.build import quick_jit, select_prompts
from tests.rewards.helpers import score, tagged
from tests.rollout.reference import (
    ALLOWED,
    EOS,
    MODEL,
    PAD,
    log_softmax,
    random_params,
    sequence_logits,
    text_prompts,
    truncate_slowly,
)

ROOT = Path(__file__).parents[2]
SCENES = ROOT / "tests" / "fixtures" / "super-clevr"
RECIPES = {"visual_counting": "counting", "structure_perception": "structure", "spatial_transformation": "spatial"}


def load(name, arg):
    return load_config(f"{ROOT / 'configs' / name}.py:{arg}")


@pytest.mark.slow
def test_1_drawn_from_a_tempered_truncated_distribution_and_scored_under_the_plain_one():
    config = load("grpo_counting", "paper")
    config.rollout.update({"group": 2, "max_completion_length": 6})
    vocabulary = SimpleNamespace(vocab_tokens=59, eos_token_ids=EOS, pad_token_id=PAD)
    layout = StepLayout(config.rollout.group, one_row_each(2), one_row_each(2))
    programs = make_programs(config, GRPO.loss(config), MODEL, vocabulary, layout)
    params, prompts = random_params(), text_prompts()
    drawn = jax.tree.map(np.asarray, programs.sample(params, prompts, jax.random.key(0)))
    scored = np.asarray(programs.reference(params, prompts, drawn.tokens, drawn.mask))
    for b, g in np.ndindex(2, 2):
        tokens = drawn.tokens[b, g][drawn.mask[b, g]]
        z = sequence_logits(params, select_prompts(prompts, [b]), tokens.tolist())[:-1]
        at = np.arange(len(tokens)), tokens
        truncated = np.array([truncate_slowly(np.where(ALLOWED, row, -np.inf), Sampling(0.9, 50, 0.9)) for row in z])
        ours, again = (x[b, g][: len(tokens)] for x in (drawn.sampled_log_probs, scored))
        np.testing.assert_allclose(ours, log_softmax(truncated)[at], atol=1e-4)
        # Of all rows of the head, those that cannot be drawn too, at temperature 1.
        np.testing.assert_allclose(again, log_softmax(z)[at], atol=1e-4)
    assert (drawn.sampled_log_probs - scored)[drawn.mask].max() > 0.1

    def loss(log_probs, sampled):
        targets = Targets(drawn.mask, np.ones((2, 2)), np.array([[1.0, -1.0]] * 2), None, scored, sampled)
        return total(grpo_loss(Scores(log_probs), targets, loss_config(config))[0])

    # No weight corrects for it: the gradient is the same whatever distribution the tokens came from.
    ours, plain = (quick_jit(jax.grad(loss))(scored, drawn_with) for drawn_with in (drawn.sampled_log_probs, None))
    np.testing.assert_array_equal(ours, plain)
    default = load("grpo_counting", "")
    assert (default.rollout.temperature, default.rollout.top_p, default.rollout.top_k) == (1.0, 1.0, 0)
    assert not default.loss.full_softmax and default.loss.temperature is None  # that of the draw


def test_9_geometry_is_rewarded_for_the_exact_string():
    weights = {k: v for k, v in load("reason_rft", "structure,paper").rewards.items() if v}
    assert weights == {"accuracy_paper": 1.0, "format_paper": 1.0}
    near = tagged("10.4")
    assert score(registry.get("accuracy_paper"), near, "10") == [0.0]
    assert score(registry.get("math_accuracy_paper"), near, "10") == [1.0]  # there, and not used, as in the original


@pytest.mark.parametrize("task", RECIPES)
def test_every_reward_of_the_preset_is_a_published_one(task):
    for recipe in ("reason_rft", "reason_rft_zero"):
        weights = load(recipe, f"{RECIPES[task]},paper").rewards
        used = {name for name, weight in weights.items() if weight}
        assert used == {name if name.endswith("_paper") else f"{name}_paper" for name in used} and len(used) == 2
    assert ("functions_full_paper" in used) == (task == "spatial_transformation")


@pytest.fixture(scope="module")
def sft(tmp_path_factory):
    """Stage 1 on real pictures of 640x480 pixels, one batch of it, and the processor."""
    folder = tmp_path_factory.mktemp("sft") / "data"
    shutil.copytree(SCENES, folder)
    records = json.loads((folder / "records.json").read_text())[:2]
    (folder / "records.json").write_text(json.dumps([{**r, "cot": "Two."} for r in records]))
    config = load("reason_rft", f"counting,paper,data={folder}").stage1
    config.update({"eval": {"examples": 0}, "train": {"prompts": 2}, "data": {"range": (0, 0)}})
    processor = load_processor(resolve_init("nano"), max_pixels=config.processor.max_pixels)
    return config, processor, make_source(config, get_task(config.task), processor).fetch(0)


def test_24b_stage_1_has_the_pictures_in_front_of_the_question(sft):
    config, processor, batch = sft
    text = batch.texts[0]
    assert text.startswith(f"<image>\n{batch.examples[0].problem} Output the thinking")
    tokens = batch.prompts.tokens[0][batch.prompts.token_mask[0]].tolist()
    behind = tokens[tokens.index(processor.vision_end_token_id) + 1 :]
    assert processor.tokenizer.decode(behind).startswith(text.removeprefix("<image>"))
    # The spatial task has an instruction in front of the question: there the place differs.
    spatial = load("reason_rft", "spatial,paper,data=/data")
    assert (spatial.stage1.processor.images, spatial.processor.images) == ("in_question", "first")
    example = get_task("spatial_transformation").make(0, 0, "train", "in")
    asked = get_task("spatial_transformation").prompt_fn("cot", real=True, marks=True)(example)
    assert len(asked.split("<image>")[0]) > 1000 and f"<image>\n<image>\n{example.problem}" in asked


def test_25_stage_1_sees_small_pictures_made_by_nearest_neighbours(sft):
    config, processor, batch = sft
    assert config.processor.nearest_pixels == 262_144
    height, width = shrunk(480, 640, 262_144)
    picture = Image.open(batch.examples[0].images[0]).convert("RGB")
    small = picture.resize((width, height), Image.Resampling.NEAREST)
    expected = processor.image_processor(images=[small])["pixel_values"]
    mask = batch.prompts.patch_mask[0, 0]
    assert mask.sum() == 588 * 448 // 14**2
    np.testing.assert_array_equal(batch.prompts.patches[0, 0][mask], expected)


def test_25_stage_1_is_all_warm_up():
    schedule = read(load("reason_rft", "counting,paper").stage1, "optimizer").schedule
    rates = [float(make_schedule(schedule, 1600 // 16)(t)) for t in range(100)]
    np.testing.assert_allclose(rates, [1e-5 * t / 100 for t in range(100)], rtol=1e-5, atol=1e-12)


def test_25_stage_1_trains_neither_tower_nor_projector_and_stage_2_all():
    config = load("reason_rft", "counting,paper")
    trained, frozen = partition(random_params(), config.stage1.train.freeze)
    assert set(trained) == {"language"} and set(frozen) == {"vision"}
    assert any("merger" in path for path in leaf_paths(frozen))
    assert partition(random_params(), config.train.freeze)[1] == {}


def test_27_published_decoding_with_a_seed_and_loud_about_what_is_missing(tmp_path):
    paper = questions.PAPER
    assert (paper.temperature, paper.top_p, paper.top_k, paper.max_new_tokens) == (0.1, 0.9, 50, 768)
    assert (paper.seed, paper.samples) == (0, 1)
    (benchmark,) = choose_benchmarks("structure_ood")
    with pytest.raises((ValueError, OSError), match=str(tmp_path)):
        sources.questions(benchmark, str(tmp_path), 0, "cot")


def test_the_preset_changes_settings_and_no_names():
    """What is switched on is seen in the config, field by field, and can be switched off again there."""
    plain, paper = (load("reason_rft", f"counting,{arg}2b,init=/x,data=/data") for arg in ("", "paper,"))
    changed = {name for name in flat(plain) if flat(plain)[name] != flat(paper)[name]}
    assert changed == {
        "rollout.temperature", "rollout.top_p", "rollout.top_k", "loss.full_softmax", "loss.temperature",
        "loss.aggregation",
        "rewards.accuracy", "rewards.format", "rewards.accuracy_paper", "rewards.format_paper", "train.prompts",
        "stage1.train.freeze", "stage1.processor.images", "stage1.processor.nearest_pixels",
        "stage1.optimizer.schedule.warmup_steps", "stage1.optimizer.schedule.warmup_ratio",
        "stage1.optimizer.schedule.from_zero", "stage1.rewards.accuracy", "stage1.rewards.format",
        "stage1.rewards.accuracy_paper", "stage1.rewards.format_paper",
    }  # fmt: skip


def flat(config, prefix=""):
    out = {}
    for name, value in config.items():
        out |= flat(value, f"{prefix}{name}.") if hasattr(value, "items") else {f"{prefix}{name}": value}
    return out


PAGE = ROOT / "docs" / "paper_mode.md"


def test_the_page_names_every_row_once_and_tests_that_exist():
    text = PAGE.read_text()
    rows = re.findall(r"^\| (\d+[bc]?) \|", text, re.MULTILINE)
    assert rows == [str(n) for n in range(1, 25)] + ["24b", "24c", "25", "26", "27", "28"]
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) > 30
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text()]
    assert not missing
    known = set(registry.REWARDS)
    assert {name for name in re.findall(r"`(\w+_paper)`", text)} <= known
