"""Every recipe builds with every argument, passes the checks of the loop, and explains a mistake in one line."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from rrft_jax.config.command_line import ConfigError, load_config, parse_config_overrides
from rrft_jax.config.defaults import base_config
from rrft_jax.models.qwen2_vl.config import config_from_dict
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.pretrained import read_sizes, resolve_init
from rrft_jax.rewards.registry import REWARDS
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.algorithms.grpo import loss_config
from rrft_jax.training.validate import check_config

ROOT = Path(__file__).parents[1]
FILES = sorted(p.name for p in (ROOT / "configs").glob("*.py"))
TASKS = ("counting", "structure", "spatial")
SYSTEMS = {
    "visual_rft.py": ("detection", "classification", "grounding"), "ui_venus.py": ("screen", "navigation"),
    "roborefer.py": ("referring",),
}  # fmt: skip
JUDGES = ("judge_sft.py", "llm_judge.py")
RECIPES = [("grpo_counting.py", "")] + [
    (name, task) for name in FILES if "counting" not in name and name not in (*SYSTEMS, *JUDGES) for task in TASKS
]
INIT = "init=/ckpt/Qwen2-VL"


def arguments():
    choices = (
        ("nano", f"2b,{INIT}", f"7b,{INIT}", INIT),
        ("", "data=/data/counting"),
        ("", "paper"),
        ("", "runlocal"),
    )
    return [",".join(filter(None, parts)) for parts in itertools.product(*choices)]


def load(name, *arg):
    return load_config(f"{ROOT / 'configs' / name}:{','.join(filter(None, arg))}")


def test_there_are_recipes():
    own = {"grpo_counting.py", "ans_sft.py", "cot_sft.py", "reason_rft_zero.py", "reason_rft.py", "continual.py"}
    assert set(FILES) == own | {*SYSTEMS, *JUDGES}


@pytest.mark.parametrize(("name", "task"), RECIPES)
def test_every_argument_builds_a_config_that_passes(name, task):
    plain = load(name, task)
    check_config(plain)
    for arg in arguments():
        config = load(name, task, arg)
        check_config(config)
        loss_config(config)
        given = arg.split(",")
        assert config.init == ("/ckpt/Qwen2-VL" if INIT in given else "nano")
        assert config.data.folder == ("/data/counting" if "data=/data/counting" in given else "")
        assert (config.train.steps < plain.train.steps) == ("runlocal" in given)
        assert (config.rewards.format_paper == 1.0) == ("paper" in given)
        assert config.model.dtype == ("bfloat16" if {"2b", "7b"} & set(given) else "float32")
        # The same fields with the same types: an override that one accepts, all accept.
        assert shape(config) == shape(plain), arg


@pytest.mark.parametrize(("name", "task"), [(name, task) for name, of in SYSTEMS.items() for task in of])
def test_every_argument_of_another_system_builds_a_config_that_passes(name, task):
    plain = load(name, task)
    of = get_task(task)
    assert plain.task == of.name and plain.rollout.max_completion_length == of.shapes.completion
    for arg in arguments():
        config = load(name, task, arg)
        check_config(config)
        loss_config(config)
        weighted = {name: weight for name, weight in config.rewards.items() if weight}
        assert weighted == (of.paper_rewards if "paper" in arg.split(",") else of.rewards)
        assert shape(config) == shape(plain), arg
    for other in ("cot_sft.py", "ans_sft.py", "reason_rft.py"):
        check_config(load(other, task))


@pytest.mark.parametrize("arg", ["", f"2b,{INIT}", "7b", "runlocal", "7b,runlocal"])
def test_a_judge_and_what_is_trained_against_it(arg):
    """Specification 6, as numbers; in text alone, whatever the size."""
    judge, policy = load("judge_sft.py", arg), load("llm_judge.py", arg, "data=/data/gsm8k")
    for config in (judge, load("judge_sft.py", arg, "data=/data/preferences"), policy):
        check_config(config)
        assert not {*config.buckets.images, *config.buckets.patches} - {0, "auto"}
        assert (config.lora.rank, config.lora.alpha, config.lora.parts) == (16, 32.0, ("language",))
    assert judge.optimizer.schedule.peak == (1e-4 if "b" in arg.split(",")[0] else 5e-3)
    ppo, loss, schedule = policy.ppo, policy.loss, policy.optimizer.schedule
    assert (ppo.gamma, ppo.lam, ppo.value_clip, ppo.whiten, ppo.kl_in_reward) == (1.0, 0.95, 0.2, True, 0.05)
    assert (loss.epsilon_low, loss.beta, schedule.peak, ppo.value_peak) == (0.2, 0.0, 1e-6, 1e-5)
    assert policy.train.minibatches == 4
    assert {name: weight for name, weight in policy.rewards.items() if weight} == {"llm_judge": 1.0}
    assert policy.reward_options.llm_judge.backend == "in_process"
    served = load("llm_judge.py", arg, "endpoint", "data=/data/gsm8k")
    served.reward_options.llm_judge.update({"url": "http://127.0.0.1:8000/v1", "model": "judge"})
    check_config(served)


def test_settings_of_the_other_papers():
    """Specification 2.5, 3.3 and 4, as numbers."""
    real = f"paper,7b,{INIT},data=/data/x"
    found = load("visual_rft.py", f"detection,{real}")
    assert (found.rollout.group, found.train.prompts, found.train.epochs, found.loss.beta) == (4, 16, 2.0, 0.04)
    assert (found.optimizer.schedule.peak, found.processor.max_pixels, found.rollout.temperature) == (1e-6, 401_408, 1)
    assert load("visual_rft.py", f"grounding,{real}").train.epochs == 6.0
    assert load("visual_rft.py", "classification,shots=4").data.range == (0, 96)
    with pytest.raises(ConfigError, match="config argument shots"):
        load("visual_rft.py", "detection,shots=4")
    found = load("ui_venus.py", f"screen,{real}")
    assert (found.rollout.group, found.train.prompts, found.loss.beta, found.train.epochs) == (8, 128, 4e-3, 10.0)
    assert (found.optimizer.schedule.peak, found.train.freeze) == (4e-7, ())
    assert found.reward_options.in_box.max_pixels == found.processor.max_pixels == 4_800_000
    assert load("ui_venus.py", "screen,paper").reward_options.in_box.max_pixels == 12_544  # nano's own
    found_nano = load("ui_venus.py", "screen,paper,data=/data/x")
    assert found_nano.reward_options.in_box.max_pixels == found_nano.processor.max_pixels
    found = load("ui_venus.py", f"navigation,{real}")
    assert (found.train.prompts, found.loss.beta, found.train.freeze) == (256, 1e-3, ("^vision/",))
    assert found.reward_options.action_coordinates.coordinates == "resized"
    for size, side in (("qwen2.5-vl-7b", 28), ("qwen3-vl-2b", 32)):
        resized = load("ui_venus.py", f"screen,{size},paper,{INIT},data=/data/x").reward_options.in_box
        assert (resized.coordinates, resized.token_side) == ("resized", side)
    found = load("roborefer.py", f"paper,2b,{INIT},data=/data/x")
    assert (found.rollout.group, found.train.epochs) == (8, 2.0)
    with pytest.raises(ConfigError, match="task=counting: not one of referring|'counting' is not known"):
        load("roborefer.py", "counting")


def test_grpo_counting_shows_every_number_it_trains_with():
    """On one screen, and with the values that it had when they stood elsewhere."""
    text = (ROOT / "configs" / "grpo_counting.py").read_text()
    assert len(text.splitlines()) <= 45
    config = load("grpo_counting.py")
    assert (config.train.steps, config.train.prompts, config.train.micro_batches) == (30, 32, 4)
    assert (config.rollout.group, config.rollout.max_completion_length, config.rollout.temperature) == (8, 96, 1.0)
    assert config.buckets.to_dict() == {"prompt": (88,), "images": (1,), "patches": (64,)}
    assert (config.loss.beta, config.eval.every, config.eval.examples) == (0.04, 15, 256)
    assert (config.optimizer.b1, config.optimizer.b2) == (0.9, 0.98)
    assert (config.optimizer.schedule.peak, config.optimizer.schedule.warmup_steps) == (2e-4, 5)
    optimizer = set(config.optimizer) - {"offload"}  # where its averages lie decides no number
    numbers = {
        "seed", *optimizer, "name", "peak", "warmup_steps", "group", "max_completion_length", "temperature",
        "top_k", "top_p", "scale", "ddof", "epsilon", "surrogate", "aggregation", "beta", "kl_estimator", "steps",
        "prompts", "minibatches", "rollout_epochs", "micro_batches", *config.buckets, *config.eval, *config.checkpoint,
    }  # fmt: skip
    default = base_config()
    changed = {name.rpartition(".")[2] for name, value in leaves(config) if value != get(default, name)}
    names = numbers | changed - {"schedule"}
    assert not [name for name in names if f'"{name}"' not in text and f".{name}" not in text]


def leaves(config, prefix=""):
    for name, value in config.items():
        yield from leaves(value, f"{prefix}{name}.") if hasattr(value, "items") else [(prefix + name, value)]


def get(config, name):
    for part in name.split("."):
        config = config[part]
    return config


@pytest.mark.parametrize("paradigm", ["ans_sft", "cot_sft", "reason_rft_zero", "reason_rft"])
def test_an_old_name_is_answered_by_the_new_command(paradigm):
    for task in TASKS:
        with pytest.raises(ConfigError, match=rf"--config=.*configs/{paradigm}.py:{task},2b,data=x$"):
            load(f"{paradigm}_{task}.py", "2b,data=x")
        with pytest.raises(ConfigError, match=rf"--config=.*configs/{paradigm}.py:{task}$"):
            load_config(str(ROOT / "configs" / f"{paradigm}_{task}.py"))
    with pytest.raises(ConfigError, match="does not exist"):
        load(f"{paradigm}_painting.py")


OWN = """
from rrft_jax.tasks import Shapes, Task

def near(completions, examples, group_ids, step):
    return [0.5] * len(completions)

TASK = Task(
    name="own", templates={"A": "{Question}"}, prompts={"cot": "A"}, rewards={"FILE:near": 2.0, "format": 1.0},
    metric="near", make=lambda *of: None, shapes=Shapes(prompt=72, images=2, completion=40),
)
"""


def test_somebody_elses_task_comes_with_its_lengths_and_its_own_reward(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN.replace("FILE", str(file)))
    for name in ("cot_sft.py", "reason_rft_zero.py"):
        config = load(name, f"task={file}:TASK", "runlocal")
        assert config.task == f"{file}:TASK" and config.train.steps == 4
        assert (config.buckets.prompt, config.buckets.images, config.rollout.max_completion_length) == ((72,), (2,), 40)
        assert {name: weight for name, weight in config.rewards.items() if weight} == {"format": 1.0}
        assert config.extra_rewards == (f"{file}:near=2.0",)
        check_config(config)
    config = load("cot_sft.py", f"task={file}:TASK")
    config.extra_rewards += ("other.py:far",)
    with pytest.raises(ValueError, match="config.extra_rewards"):
        check_config(config)


def test_a_task_is_a_word_or_a_name(tmp_path):
    assert load("cot_sft.py", "spatial") == load("cot_sft.py", "task=spatial_transformation")
    assert load("cot_sft.py", "spatial").task == "spatial_transformation" and load("cot_sft.py").task == "auto"
    (tmp_path / "own.py").write_text(OWN)
    for word, message in {
        "spatil": "'spatil' is not known. Did you mean spatial",
        "task=spatil": "config argument task='spatil' is no task; did you mean spatial",
        f"task={tmp_path}/own.py:TASC": "config argument task=.*own.py has no TASC; it defines",
        f"task={tmp_path}/own.py,paper": "config argument paper: task own has no published rewards",
    }.items():
        with pytest.raises(ConfigError, match=message):
            load("cot_sft.py", word)


@pytest.mark.parametrize("name", FILES)
def test_real_sizes_split_their_parameters_over_all_devices_unless_told_otherwise(name):
    for size in ("2b", "7b"):
        mesh = load(name, size).mesh
        assert (mesh.data, mesh.fsdp, mesh.tensor, mesh.preset) == (1, -1, 1, "")
        for preset in ("data", "fsdp", "fsdp+tensor"):
            make_mesh(**{**mesh, "preset": preset}, devices=jax.devices()[:1], kv_heads=2)


def shape(config):
    return {k: shape(v) if hasattr(v, "items") else config.get_type(k).__name__ for k, v in config.items()}


def test_sft_prompts_fit_their_targets():
    for target in ("cot", "ans"):
        config = load(f"{target}_sft.py", "counting")
        assert (config.algorithm, config.prompt, config.sft.target) == ("sft", target, target)


def test_two_stages_share_out_the_examples():
    """Reason-RFT: stage 1 on 1,600 records, stage 2 on the remaining ones, on all for structure perception."""
    for task, stage2 in (("counting", (1600, 0)), ("spatial", (1600, 0)), ("structure", (0, 0))):
        config = load("reason_rft.py", task)
        assert config.stage1.data.range == (0, 1600) and config.data.range == stage2
        assert config.stage1.algorithm == "sft" and config.algorithm == "grpo" and not config.stage1.stage1


def test_a_mistake_in_stage_1_is_named_as_such():
    config = load("reason_rft.py")
    config.stage1.train.prompts = 0
    with pytest.raises(ValueError, match="config.stage1.train.prompts=0 must be at least 1"):
        check_config(config)


def test_the_paper_preset_is_the_released_trainer():
    """Specification 1.5, 1.6, 1.8 of Reason-RFT, as numbers."""
    config = load("reason_rft.py", f"counting,paper,2b,{INIT},data=/data/counting")
    rollout = config.rollout
    assert (rollout.group, rollout.temperature, rollout.top_p, rollout.top_k) == (8, 0.9, 0.9, 50)
    assert rollout.max_completion_length == 512 and config.train.prompts == 14 and config.train.epochs == 1.0
    loss = loss_config(config)
    assert (loss.surrogate, loss.aggregation, loss.beta, loss.kl_estimator) == (
        "on_policy", "sequence_mean_token_mean", 0.04, "k3",
    )  # fmt: skip
    assert config.loss.full_softmax and config.loss.temperature == 1.0
    assert config.advantages.to_dict() == {
        "estimator": "grpo", "scale": "group", "ddof": 1, "epsilon": 1e-4, "gamma": 1.0
    }  # fmt: skip
    assert {k: v for k, v in config.rewards.items() if v} == {"accuracy_paper": 1.0, "format_paper": 1.0}
    optimizer = config.optimizer
    assert (optimizer.b1, optimizer.b2, optimizer.weight_decay, optimizer.max_grad_norm) == (0.9, 0.999, 0.0, 1.0)
    assert (optimizer.schedule.name, optimizer.schedule.peak, optimizer.schedule.warmup_steps) == ("linear", 1e-6, 0)
    stage1 = config.stage1
    assert stage1.train.prompts == 16 and stage1.train.freeze == ("^vision/",) and stage1.data.range == (0, 1600)
    assert stage1.processor.nearest_pixels == 512 * 512 and stage1.optimizer.weight_decay == 0.1
    schedule = stage1.optimizer.schedule
    assert (schedule.name, schedule.peak, schedule.warmup_steps, schedule.from_zero) == ("cosine", 1e-5, 100, True)
    assert (stage1.processor.images, config.processor.images) == ("in_question", "first")
    assert config.processor.nearest_pixels == 0 and config.processor.max_pixels == 480_000
    assert load("reason_rft_zero.py", f"structure,paper,2b,{INIT},data=/data/s").train.epochs == 5.0


def test_the_documented_variants_of_the_spatial_reward_are_the_released_ones():
    text = (ROOT / "docs" / "paper_mode.md").read_text()
    rewards = {}
    for name, flags in re.findall(r"^\| `(trance\S*)` \|[^|]*\| (.*) \|$", text, re.MULTILINE):
        config = load("reason_rft_zero.py", f"spatial,paper,2b,{INIT},data=/data/spatial")
        for field, value in re.findall(r"--config\.(\S+)=(\w+)", flags):
            config.update_from_flattened_dict({field: float(value) if value.isdecimal() else value})
        check_config(config)
        assert (config.prompt == "caption") == ("caption" in name)
        rewards[name] = {reward for reward, weight in config.rewards.items() if weight}
    assert rewards == {
        "trance": {"functions_paper", "format_paper"},
        "trance-only-full": {"functions_full_paper", "format_paper"},
        "trance-penalty": {"functions_penalty_paper", "format_paper"},
        "trance-full-caption": {"functions_full_paper", "caption_format_paper"},
    }


@pytest.mark.parametrize("size", ["2b", "7b"])
@pytest.mark.parametrize("name", FILES)
def test_a_real_size_without_weights_can_be_planned_but_not_trained(name, size):
    config = load(name, size)
    published = Path(__file__).parent / "fixtures" / "qwen2-vl-configs" / f"{size}.json"
    assert read_sizes(config.init) == config_from_dict(json.loads(published.read_text()))
    with pytest.raises(ValueError, match=rf"{size} is a size without weights: give init=.*Qwen2-VL-{size.upper()}"):
        resolve_init(config.init)


def test_an_unknown_argument_lists_the_near_ones():
    with pytest.raises(ConfigError, match="'runlocl' is not known.*runlocal"):
        load("grpo_counting.py", "runlocl")


def test_overrides_take_their_types():
    config = load("grpo_counting.py", "2b,init=/x")
    given = ["--config.train.steps=7", "--config.optimizer.schedule.peak=1e-4", "--config.buckets.prompt=64,128"]
    assert parse_config_overrides(config, given) == {
        "train.steps": 7,
        "optimizer.schedule.peak": 1e-4,
        "buckets.prompt": (64, 128),
    }


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("algorithm", "grp", "no algorithm; did you mean grpo"),
        ("train.steps", 0, "train.steps=0 must be at least 1"),
        ("train.micro_batches", -1, "micro_batches=-1 must be at least 0"),
        ("train.group_chunks", 3, "group_chunks=3 must divide the 8 completions"),
        ("rollout.group", 1, "give >= 2"),
        ("checkpoint.every", 0, "checkpoint.every=0 must be at least 1"),
        ("seed", -1, "config.seed=-1 must be at least 0"),
        ("mesh.fsdp", 0, "config.mesh.fsdp=0 must be at least 1, or -1 for the devices left"),
        ("mesh.data", -2, "config.mesh.data=-2"),
        ("model.logits_chunk", 0, "config.model.logits_chunk=0"),
        ("model.attention", "flash", "config.model.attention='flash': choose one of auto, xla, splash, cudnn"),
        ("rollout.max_completion_length", 0, "config.rollout.max_completion_length=0"),
        ("rollout.temperature", 0.0, "config.rollout.temperature=0 draws equal completions"),
        ("rollout.cache_parts", 0, "config.rollout.cache_parts=0: give 1 to"),
        ("rollout.compact", 1, "config.rollout.compact=1: give how many times smaller"),
        ("rollout.top_p", 2.0, "config.rollout.top_p 2.0 must lie in"),
        ("loss.temperature", 0.0, "config.loss.temperature=0.0 must be positive"),
        ("loss.surrogate", "clip", "config.loss.surrogate must be one of"),
        ("advantages.scale", "grup", "config.advantages.scale='grup': choose one of group, batch, none"),
        ("advantages.estimator", "grp", "config.advantages.estimator='grp' is no estimator; did you mean grpo"),
        ("reward_options.length.warmup_steps", 5, "changes nothing while config.rewards.length is 0"),
        ("extra_rewards", ("no/mine.py:f=0.5",), "config.extra_rewards: file no/mine.py does not exist"),
        ("optimizer.schedule.name", "cosin", "config.optimizer.schedule.name='cosin'"),
        ("buckets.prompt", (96, 88), "config.buckets.prompt=.96, 88. must be an ascending list"),
        ("data.held_out", 3.0, "config.data.held_out=3.0 is a share"),
        ("data.range", (5, 3), "config.data.range=.5, 3.: give the first place and the end"),
        ("train.epochs", 2.0, "generated examples never end; give config.train.steps, or data.range"),
        ("train.epochs", -1.0, "config.train.epochs=-1.0 must be positive"),
        ("optimizer.schedule.warmup_ratio", 1.0, "warmup_ratio=1.0: give 0 or more, less than 1"),
        ("checkpoint.keep_last", 0, "config.checkpoint.keep_last=0"),
        ("prompt", "COUNT", "config.prompt: .*COUNT_COT"),
        ("processor.images", "last", "config.processor.images='last': choose first or in_question"),
        ("processor.nearest_pixels", -1, "config.processor.nearest_pixels=-1 must be at least 0"),
        ("task", "visual_conting", "did you mean visual_counting"),
        ("rewards", {"format": 1.0}, "config.rewards lacks accuracy"),
    ],
)
def test_fields_that_are_checked_before_anything_is_loaded(field, value, message):
    config = load("grpo_counting.py")
    with config.ignore_type():
        config.update_from_flattened_dict({field: value}) if field != "rewards" else config.__setitem__(field, value)
    with pytest.raises(ValueError, match=message):
        check_config(config)


def test_the_command_lists_every_mistake_at_once():
    command = [sys.executable, "launch/train.py", "--config=configs/grpo_counting.py:runlocal"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    mistakes = ["--config.train.step=5", "--config.rollout.group=four"]
    done = subprocess.run([*command, *mistakes], cwd=ROOT, capture_output=True, text=True, env=env)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "--config.train.step: no such field. Did you mean --config.train.steps" in done.stderr
    assert "--config.rollout.group=four: an integer is wanted" in done.stderr


def test_trl_names_stand_for_a_surrogate_and_an_aggregation():
    config = load_config(str(ROOT / "configs" / "grpo_counting.py"))
    config.loss.type = "dr_grpo"
    loss = loss_config(config)
    assert (loss.surrogate, loss.aggregation, loss.max_completion_length) == ("clipped", "constant_length", 96)
    config.loss.type = "grp"
    with pytest.raises(ValueError, match="config.loss.type='grp': choose one of grpo, bnpo, dapo"):
        loss_config(config)


def test_every_registered_reward_can_be_weighted():
    config = load_config(str(ROOT / "configs" / "grpo_counting.py"))
    assert set(config.rewards) == set(REWARDS)
    assert {name: w for name, w in config.rewards.items() if w} == {"accuracy": 1.0, "format": 1.0}


def test_a_field_that_its_group_does_not_have_is_named():
    config = base_config()
    config.train.minibatchs = 2
    with pytest.raises(ValueError, match=r"config\.train\.minibatchs: no such field; config\.train has steps, .*minib"):
        check_config(config)
