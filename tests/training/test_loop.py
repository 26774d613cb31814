"""What a run leaves behind and says, looked at from outside the process that made it."""

import gzip
import json
import math
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from rrft_jax.config.command_line import load_config
from rrft_jax.data.example import Example
from rrft_jax.models.paths import leaf_paths
from rrft_jax.models.weights import load_params
from rrft_jax.parallel.processes import ElsewhereError
from rrft_jax.pretrained import ASSETS, resolve_init
from rrft_jax.processing.processor import load_processor
from rrft_jax.run.completions import read_completions
from rrft_jax.run.metrics import RESERVED, read_metrics
from rrft_jax.run.workdir import stored_config
from rrft_jax.tasks.registry import get_task
from rrft_jax.training import loop
from rrft_jax.training.loop import DivergedError, check_finite, train
from rrft_jax.training.rewarding import make_rewards
from rrft_jax.training.state import TrainState
from tests.run.test_metrics import events
from tests.training import runs

TRL_NAMES = {
    "reward", "reward_std", "rewards/accuracy/mean", "rewards/format/mean", "frac_reward_zero_std", "kl", "entropy",
    "completions/mean_length", "completions/min_length", "completions/max_length", "completions/clipped_ratio",
    "sampling/sampling_logp_difference/mean", "sampling/sampling_logp_difference/max", "num_tokens", "step_time",
    "learning_rate", "grad_norm", "loss",
}  # fmt: skip
ROOT = Path(__file__).parents[2]
SECTIONS = ("What the paper draws", "Also at every step of GRPO", "In some runs")  # of docs/metrics.md
SFT = (
    "--config.train.steps=6",
    "--config.train.prompts=4",
    "--config.train.micro_batches=1",
    "--config.optimizer.schedule.peak=1e-3",
    "--config.optimizer.schedule.warmup_steps=0",
    "--config.data.held_out=0",
    "--config.eval.examples=0",
    "--config.buckets.prompt=88",
    "--config.buckets.patches=64",
    "--config.rollout.max_completion_length=96",
)


@pytest.mark.parametrize("error", [OSError("gone"), ElsewhereError("process 1 failed"), MemoryError("not ours")])
def test_a_start_that_failed_leaves_the_workdir_to_the_corrected_command(monkeypatch, tmp_path, error):
    def start(*_):
        raise error

    monkeypatch.setattr(loop, "set_up", start)
    with pytest.raises(type(error)):
        train(load_config(str(ROOT / "configs" / "grpo_counting.py")), tmp_path / "run")
    assert (tmp_path / "run" / "config.json").exists() == isinstance(error, MemoryError)


@pytest.fixture(scope="module")
def workdir(finished):
    return finished[0]


@pytest.fixture(scope="module")
def metrics(workdir):
    return list(read_metrics(workdir))


def test_the_directory_tells_what_made_it(workdir):
    config = json.loads((workdir / "config.json").read_text())
    assert config["train"]["steps"] == runs.STEPS and config["algorithm"] == "grpo" and config["init"] == "nano"
    versions = json.loads((workdir / "versions.json").read_text())
    assert versions["seeds"] == {"seed": 0} and versions["jax"] == jax.__version__
    assert {"git", "numpy", "optax", "cores", "XLA_FLAGS"} <= versions.keys()
    assert len((workdir / "sessions.jsonl").read_text().splitlines()) == 1
    assert json.loads((workdir / "DONE").read_text())["cpu_seconds"] > 1


def test_one_object_a_step_under_trls_names(metrics):
    assert [record["step"] for record in metrics] == list(range(runs.STEPS + 1))
    evaluation = {f"{s}/{m}" for s in ("eval", "eval_ood") for m in ("accuracy", "format", "reasons", "mean_length")}
    assert evaluation <= metrics[0].keys() and "loss" not in metrics[0]
    for record in metrics[1:]:
        assert TRL_NAMES <= record.keys()
        assert (evaluation <= record.keys()) == (record["step"] % 2 == 0)
        assert 0 <= record["rewards/accuracy/mean"] <= 1 and record["reward_error"] == 0
        assert record["reward"] == pytest.approx(record["rewards/accuracy/mean"] + record["rewards/format/mean"])
        assert (
            1
            <= record["completions/min_length"]
            <= record["completions/mean_length"]
            <= record["completions/max_length"]
        )
        assert record["completions/max_length"] <= 24 and 0 <= record["completions/clipped_ratio"] <= 1
        assert all(math.isfinite(record[name]) for name in TRL_NAMES)
        assert "epoch" not in record  # generated scenes never end
    peak = read_peak()
    assert [r["learning_rate"] for r in metrics[1:]] == pytest.approx([peak * (1 - t / runs.STEPS) for t in range(4)])
    tokens = [record["num_tokens"] for record in metrics[1:]]
    # 16 completions, each counted with its prompt of some 70 tokens.
    assert all(16 * 60 <= after - before <= 16 * (88 + 24) for before, after in zip([0, *tokens], tokens, strict=False))


def documented(section):
    """Patterns of the metrics that a section of the documentation names."""
    text = (ROOT / "docs" / "metrics.md").read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    cells = [row.split("|")[2 if section == SECTIONS[0] else 1] for row in text.splitlines() if row.startswith("| ")]
    names = {name for cell in cells for name in re.findall(r"`([a-z_<>/0-9]+)`", cell) if not name.endswith("/")}
    return {re.sub(r"<\w+>", r"\\w+", name) for name in names}


def test_every_metric_is_documented_and_what_is_documented_is_there(metrics):
    found = {name for record in metrics for name in record} - set(RESERVED)
    always, sometimes = documented(SECTIONS[0]) | documented(SECTIONS[1]), documented(SECTIONS[2])
    matches = lambda pattern: {name for name in found if re.fullmatch(pattern, name)}  # noqa: E731
    assert len(always) > 30 and len(sometimes) > 10
    assert not [pattern for pattern in always if not matches(pattern)]
    assert found == set().union(*map(matches, always | sometimes))
    for record in metrics:
        if "eval/accuracy" in record:
            share, zero = record["eval/reasons"], lambda x: 0.0 if math.isnan(x) else x
            parts = zero(record["eval/accuracy_reasoned"]), zero(record["eval/accuracy_direct"])
            assert record["eval/accuracy"] == pytest.approx(share * parts[0] + (1 - share) * parts[1])


def read_peak():
    return load_config(runs.GRPO).optimizer.schedule.peak


def test_it_learns_and_leaves_its_reference(metrics):
    norms = [record["grad_norm"] for record in metrics[1:]]
    assert max(norms) > 0, "no group of this run had different rewards, so this test shows nothing"
    first = next(t for t, norm in enumerate(norms) if norm > 0)
    assert all(abs(record["kl"]) < 1e-6 for record in metrics[1 : first + 2])
    assert all(record["kl"] > 1e-6 for record in metrics[first + 2 :])


def test_tensorboard_shows_the_same_numbers(workdir, metrics):
    kept = {(name, r["step"]) for r in metrics for name, x in r.items() if name not in ("step", "time") and x == x}
    assert {(tag, step) for tag, step, _ in events(workdir)} == kept
    shown = {(tag, step): value for tag, step, value in events(workdir)}
    assert shown["reward", 3] == pytest.approx(metrics[3]["reward"])


def test_the_completions_are_those_of_the_metrics(workdir, metrics):
    groups = list(read_completions(workdir))
    assert [g["step"] for g in groups] == [step for step in (1, 2, 4) for _ in range(4)]
    assert len({g["prompt_id"] for g in groups}) == len(groups)  # a new prompt every time
    for group in groups:
        assert [len(group[name]) for name in ("completions", "reward", "advantages")] == [4, 4, 4]
        total = np.sum([group["rewards"]["accuracy"], group["rewards"]["format"]], axis=0)
        np.testing.assert_allclose(group["reward"], total)
        np.testing.assert_allclose(group["advantages"], (total - total.mean()) / (total.std(ddof=1) + 1e-4), atol=1e-5)
        assert "<think>" in group["prompt"] and group["answer"].isdigit()
        (picture,) = group["images"]
        task = get_task("visual_counting")
        example = task.make(0, group["prompt_id"], "train", "in")
        assert group["example_id"] == example.id and group["answer"] == example.answer
        assert group["prompt"] == task.prompt_fn("COUNT_COT")(example)
        np.testing.assert_array_equal(np.asarray(Image.open(picture)), np.asarray(example.images[0]))
    for step in (1, 2, 4):  # all four prompts of a step are logged, so their mean is the metric
        rewards = np.array([g["reward"] for g in groups if g["step"] == step])
        assert metrics[step]["reward"] == pytest.approx(rewards.mean())
        assert metrics[step]["reward_std"] == pytest.approx(rewards.std(ddof=1), abs=1e-5)
        assert metrics[step]["frac_reward_zero_std"] == pytest.approx((rewards.std(1) == 0).mean())


def test_the_result_is_the_last_checkpoint_in_bfloat16(workdir):
    arrays, host, step = runs.checkpoint(workdir)
    assert step == runs.STEPS and arrays["step"] == runs.STEPS and arrays["skipped"] == 0
    result = leaf_paths(load_params(workdir / "hf"))
    base = leaf_paths(load_params(ASSETS / "nano"))
    assert result.keys() == base.keys()
    for path, x in result.items():
        trained = arrays[f"params/{path}"]
        np.testing.assert_allclose(np.asarray(x), trained, rtol=2**-8, atol=1e-30)
    assert any((np.asarray(x) != np.asarray(base[path])).any() for path, x in result.items())
    assert resolve_init(str(workdir)) == workdir / "hf"


def test_each_program_compiles_once(finished):
    compiled = re.findall(r"Compiling jit\((\w+)\)", finished[1])
    counts = {name: compiled.count(name) for name in ("train_sample", "greedy_sample", "reference", "step")}
    assert counts == dict.fromkeys(counts, 1)
    # The rest are the start, the keys, the advantages and Orbax: small, and no more of them with more steps.
    assert len(compiled) <= 16, sorted(compiled)


def test_the_times_of_a_step_add_up(metrics):
    phases = ("data", "rollout", "reward", "batch", "update")
    for record in metrics[1:]:
        assert sum(record[f"timing/{name}"] for name in phases) == pytest.approx(record["step_time"], rel=1e-6)
        assert 0 <= record["timing/idle_share"] <= 1


def test_it_says_what_it_does_and_where_things_are(finished):
    workdir, output = finished
    for wanted in (
        r"grpo from nano: [\d,]+ parameters on 1 cpu device",
        r"one visual token per 28x28 pixels",
        r"\[step 0\] held-out greedy accuracy: eval \d+\.\d% of \d+, eval_ood \d+\.\d% of \d+",
        r"step 4/4  reward \d\.\d+  accuracy \d\.\d+  kl -?\d\.\d+  tok/s [\d,]+  eta",
        r"in-domain: accuracy \(\d+ questions, ± [\d.]+\) +\d+\.\d % +\d+\.\d % +[+-]\d+\.\d pp",
        r"out-of-domain: answers that reason",
        r"cost: \d+ CPU-seconds",
        re.escape(f"written to {workdir}:"),
    ):
        assert re.search(wanted, output), wanted
    assert "nan" not in output.partition("in-domain: accuracy (")[2]


def test_a_finished_run_is_left_alone(workdir, capsys):
    before = runs.files(workdir)
    assert train(stored_config(workdir), workdir) == 0
    assert "holds a finished run" in capsys.readouterr().out
    after = runs.files(workdir)
    assert {name for name in after if after[name] != before.get(name)} <= {"sessions.jsonl", ".lock"}


def test_a_changed_config_is_refused_by_name(workdir):
    config = stored_config(workdir)
    config.optimizer.schedule.peak = 0.5
    config.log.progress_every = 7  # this one may change
    with pytest.raises(ValueError, match=r"another config(?s:.*)optimizer\.schedule\.peak: 0\.0002 -> 0\.5") as error:
        train(config, workdir)
    assert "progress_every" not in str(error.value)


def test_a_start_that_fails_does_not_claim_the_workdir(tmp_path):
    config = load_config(runs.GRPO)
    config.init = str(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="nowhere.*neither 'nano', a HuggingFace directory"):
        train(config, tmp_path / "run")
    config.init, config.data.folder = "nano", str(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="nothing does not exist"):  # and not: another config
        train(config, tmp_path / "run")


def test_an_unfinished_run_is_no_init(workdir, tmp_path):
    shutil.copytree(workdir, tmp_path / "run")
    (tmp_path / "run" / "DONE").unlink()
    with pytest.raises(ValueError, match="unfinished run"):
        resolve_init(str(tmp_path / "run"))


def test_too_many_updates_that_are_not_finite():
    config = load_config(runs.GRPO)
    check_finite(TrainState({"skipped": np.int32(config.train.max_skipped - 1)}, [], 12), config.train.max_skipped)
    with pytest.raises(DivergedError, match="step 12: 10 updates in a row were not finite"):
        check_finite(TrainState({"skipped": np.int32(config.train.max_skipped)}, [], 12), config.train.max_skipped)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A folder of four records, so that every step sees the same four questions."""
    folder = tmp_path_factory.mktemp("records")
    examples = [get_task("visual_counting").make(1, i, "train", "in") for i in range(4)]
    for i, example in enumerate(examples):
        Image.fromarray(np.asarray(example.images[0])).save(folder / f"{i}.png")
    # Words in an order that no base has learnt, so that there is something to learn whatever nano knows.
    rows = [
        {
            "id": e.id,
            "image": f"{i}.png",
            "problem": e.problem,
            "answer": f"left are {e.answer}",
            "cot": " ".join(reversed(e.cot.split())),
        }
        for i, e in enumerate(examples)
    ]
    (folder / "train.json").write_text(json.dumps(rows))
    return folder


@pytest.mark.parametrize("target", ["cot", pytest.param("ans", marks=pytest.mark.slow)])
def test_sft_goes_through_the_same_loop_and_learns(launcher, records, tmp_path, target):
    workdir = tmp_path / "run"
    config = f"configs/{target}_sft.py:counting,runlocal,data={records}"
    output = launcher.run(workdir, *SFT, "--profile_steps=2,3", config=config)
    metrics = list(read_metrics(workdir))[1:]
    losses = [record["loss"] for record in metrics]
    assert losses[-1] < 0.8 * losses[0] and min(losses) > 0, losses
    assert [record["epoch"] for record in metrics] == [1, 2, 3, 4, 5, 6]  # four records, four prompts a step
    assert len(losses) == 6 and len({record["completions/mean_length"] for record in metrics}) == 1
    assert (workdir / "hf" / "model.safetensors").is_file() and "written to" in output
    assert not (workdir / "completions").exists() and "  completions" not in output
    assert re.findall(r"Compiling jit\((\w+)\)", output).count("step") == 1
    (trace,) = (workdir / "profile").rglob("perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert any("step" in event.get("name", "") for event in events)


@pytest.mark.slow
def test_a_run_that_diverges_stops_and_says_so(launcher, records, tmp_path):
    workdir = tmp_path / "run"
    options = (*SFT, "--config.optimizer.schedule.peak=1e38", "--config.train.max_skipped=2", "--config.train.steps=9")
    output = launcher.run(workdir, *options, config=f"configs/cot_sft.py:counting,runlocal,data={records}", code=2)
    assert re.search(r"error: step 3: 2 updates in a row were not finite", output), output[-2000:]
    metrics = list(read_metrics(workdir))[1:]
    assert [record["update_skipped"] for record in metrics] == [0, 1, 1]
    # The skipped updates left parameters and schedule where they were.
    assert metrics[2]["learning_rate"] == metrics[1]["learning_rate"] < metrics[0]["learning_rate"]


@pytest.mark.parity
@pytest.mark.slow
def test_transformers_reads_the_result_and_answers_alike(workdir):
    torch = pytest.importorskip("torch")
    from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from rrft_jax.evaluation.answer import make_answer
    from rrft_jax.pretrained import load_model
    from rrft_jax.rollout.sampling import Sampling

    hf = workdir / "hf"
    example = get_task("visual_counting").make(5, 0, "val", "in")
    question = get_task("visual_counting").prompt_fn("cot")(example)

    tokenizer = AutoTokenizer.from_pretrained(hf)
    pictures = Qwen2VLImageProcessorPil.from_pretrained(hf)(images=list(example.images), return_tensors="pt")
    turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
    text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    pads = int(pictures["image_grid_thw"].prod()) // 4
    ids = tokenizer(text.replace("<|image_pad|>", "<|image_pad|>" * pads), return_tensors="pt").input_ids
    model = Qwen2VLForConditionalGeneration.from_pretrained(hf, dtype=torch.float32)
    kinds = (ids == model.config.image_token_id).int()
    with torch.no_grad():
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), mm_token_type_ids=kinds, do_sample=False, max_new_tokens=24,
            pixel_values=pictures["pixel_values"], image_grid_thw=pictures["image_grid_thw"],
        )  # fmt: skip
    theirs = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)

    config = load_config(runs.GRPO)
    config.init = str(workdir)
    qwen, processor, params = load_model(config)
    answer = make_answer(qwen, params, processor, Sampling(0.0), 24)
    assert "".join(answer(question, example.images)) == theirs and theirs


def test_the_length_reward_counts_tokens_of_the_run_s_tokenizer():
    processor = load_processor(resolve_init("nano"))
    config = load_config(runs.GRPO)
    config.rewards.length = 0.5
    config.reward_options.length.warmup_steps = 3
    rewards = make_rewards(config, get_task("visual_counting"), processor.tokenizer).only("length")
    texts, examples = ["4", "4 objects are left"], [Example("a", "visual_counting", "?", "4")] * 2
    assert rewards.score(texts, examples, [0, 0], 2).values.tolist() == [[0.0, 0.0]]
    scored = rewards.score(texts, examples, [0, 0], 3)
    assert scored.values.tolist() == [[0.5, -0.5]] and not scored.failures
