"""A training that counts rollouts and leaves out what it never answers right, through launch/train.py."""

import json
import shutil
import signal

import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.data.instances import keeps, read_counts
from rrft_jax.run.completions import read_completions
from rrft_jax.training.validate import check_config
from tests.training import runs

EXAMPLES, ROLLOUTS = 8, 4
OPTIONS = (
    *runs.TINY, "--config.eval.examples=0", f"--config.data.range=0,{EXAMPLES}",
    f"--config.data.filter_rollouts={ROLLOUTS}", "--config.log.sinks=()", "--config.log.report=False",
)  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"filter_rollouts": 8}, "generated examples never end; give config.data.folder, or config.data.range=0,1600"),
        ({"filter_rollouts": -1}, "config.data.filter_rollouts=-1 must be at least 0"),
        ({"filter_rollouts": 8, "filter": "a.jsonl"}, "config.data.filter=a.jsonl has counts, and"),
        ({"filter_reward": "accuracy"}, "config.data.filter_reward=accuracy would change nothing"),
        ({"filter_always_right": True}, "config.data.filter_always_right=True would change nothing"),
        (
            {"filter_rollouts": 8, "range": (0, 8), "filter_reward": "boxed_acuracy"},
            "config.data.filter_reward=boxed_acuracy: there is no such reward; did you mean boxed_accuracy",
        ),
    ],
)
def test_what_cannot_act_is_refused(fields, said):
    config = load_config(f"{runs.ROOT}/configs/grpo_counting.py")
    config.data.update(fields)
    with pytest.raises(ValueError, match=said):
        check_config(config)
    config.data.update({"filter": "", "filter_rollouts": 8, "range": (0, 8), "filter_reward": "boxed_filter_paper"})
    check_config(config)


@pytest.mark.slow
def test_killed_while_it_counts_and_while_it_trains_it_ends_with_the_same_bits(launcher, tmp_path):
    whole, workdir = tmp_path / "whole", tmp_path / "run"
    output = launcher.run(whole, *OPTIONS)
    counts = read_counts(whole / "filter" / "rollouts.jsonl")
    left_out = {name for name, found in counts.items() if not keeps(found)}
    assert len(counts) == EXAMPLES and 0 < len(left_out) < EXAMPLES
    assert {found.total for found in counts.values()} == {ROLLOUTS}
    assert f"the filter keeps {EXAMPLES - len(left_out)} of the {EXAMPLES} examples to train on" in output
    skipped = [json.loads(line) for line in (whole / "skipped.jsonl").read_text().splitlines()]
    assert {row["record"] for row in skipped} == left_out
    asked = {group["example_id"] for group in read_completions(whole)}
    assert asked and asked <= counts.keys() - left_out

    # What a kill leaves while the second example's line is written; tests/launch/test_filter_instances.py kills.
    file = workdir / "filter" / "rollouts.jsonl"
    file.parent.mkdir(parents=True)
    for name in ("config.json", "versions.json", "sessions.jsonl", "filter/about.json"):
        shutil.copy(whole / name, workdir / name)
    lines = (whole / "filter" / "rollouts.jsonl").read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1][:20])
    process = launcher.start(workdir, *OPTIONS)
    runs.stop_when(process, lambda: runs.steps_written(workdir) >= 3, signal.SIGKILL)
    assert file.read_bytes() == b"".join(lines)
    assert f"resuming {workdir} at step" in launcher.run(workdir, *OPTIONS)
    runs.assert_same_result(workdir, whole)
