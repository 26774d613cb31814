"""A judge is trained, then a policy against it: tiny real runs, the judge in the policy's own process or served.

Nano judges nothing: in the run in one process a verdict is written behind each of its replies.
"""

import json
import os
import subprocess
import sys

import pytest

from rrft_jax.data.sources.common import read_part
from rrft_jax.data.sources.registry import find_parts
from rrft_jax.rewards.judge.cache import FILE
from rrft_jax.run.metrics import read_metrics
from tests.rewards.judge.test_reward import Server
from tests.training import runs
from tests.web import running

SFT = (
    "--config.sft.target=ans", "--config.train.steps=2", "--config.train.prompts=2", "--config.train.micro_batches=1",
    "--config.optimizer.schedule.peak=1e-2", "--config.eval.examples=0",
)  # fmt: skip
PPO = {
    "train.steps": 3, "train.minibatches": 2, "rollout.group": 1, "rollout.max_completion_length": 16,
    "eval.examples": 0, "reward_options.llm_judge.max_tokens": 8, "reward_options.llm_judge.concurrency": 4,
}  # fmt: skip

IN_PROCESS = """
import json, sys
from rrft_jax.config.command_line import load_config
from rrft_jax.training.frozen_base import FrozenBase
from rrft_jax.training.loop import train

own = FrozenBase.replies

def replies(self, chats, max_tokens, adapter, rows, tell):
    verdict = lambda n, said: said + '\\n{"winner": "%s"}' % "AB"[len(chats[n][-1]["content"]) % 2]
    found = own(self, chats, max_tokens, adapter, rows, lambda n, said: tell(n, verdict(n, said)))
    base = {id(leaf) for leaf in self.params["language"]["layers"]["q"].values()}
    lent = {id(leaf) for leaf in self.lent(adapter)["language"]["layers"]["q"].values()}
    print("JUDGED", len(found), base < lent, flush=True)
    return found

FrozenBase.replies = replies
config = load_config(sys.argv[1])
config.update_from_flattened_dict(json.loads(sys.argv[3]))
sys.exit(train(config, sys.argv[2]))
"""


@pytest.fixture(scope="module")
def gsm8k(tmp_path_factory):
    (part,) = find_parts("gsm8k", runs.ROOT / "tests" / "fixtures" / "gsm8k").parts
    fields = ("id", "problem", "answer", "cot")
    records = [{name: getattr(e, name) for name in fields} | {"image": []} for e in read_part(part).examples]
    file = tmp_path_factory.mktemp("gsm8k") / "gsm8k.json"
    file.write_text(json.dumps(records))
    return file


def judged(workdir):
    """Rows of the updates at which completions were judged, after all three updates."""
    rows = [row for row in read_metrics(workdir) if row["step"] > 0]
    assert [row["step"] for row in rows] == [1, 2, 3] and all(row["update_skipped"] == 0 for row in rows)
    return [row for row in rows if "reward" in row]


@pytest.mark.slow
def test_against_an_adapter_over_the_policys_own_base(launcher, gsm8k, tmp_path):
    launcher.run(tmp_path / "judge", *SFT, config="configs/judge_sft.py")
    config = f"configs/llm_judge.py:runlocal,data={gsm8k},adapter={tmp_path / 'judge' / 'adapter'}"
    fields = PPO | {"reward_options.llm_judge.cache": str(tmp_path / "cache")}
    command = [sys.executable, "-c", IN_PROCESS, config, str(tmp_path / "run"), json.dumps(fields)]
    env = {**os.environ, **launcher.environment(), "JAX_LOG_COMPILES": "0"}
    done = subprocess.run(command, cwd=runs.ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "no images" in done.stdout and "ppo from nano" in done.stdout
    calls = [line for line in done.stdout.splitlines() if line.startswith("JUDGED")]
    assert len(calls) == 2 and all(line.endswith("True") for line in calls)  # once a batch, over the same arrays
    for row in judged(tmp_path / "run"):
        assert row["reward_error"] == row["parse_fail/llm_judge"] == 0 and row["rewards/llm_judge/mean"] in (
            0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0
        )  # fmt: skip
        assert "rewards/last_number/mean" in row
    assert len((tmp_path / "cache" / FILE).read_text().splitlines()) == sum(int(line.split()[1]) for line in calls)


@pytest.mark.slow
def test_against_a_server(launcher, gsm8k, tmp_path):
    with running(Server().app) as url:
        served = PPO | {"reward_options.llm_judge.url": url, "reward_options.llm_judge.model": "m"}
        options = (f"--config.{name}={value}" for name, value in served.items())
        launcher.run(tmp_path / "run", *options, config=f"configs/llm_judge.py:runlocal,endpoint,data={gsm8k}")
    assert [row["rewards/llm_judge/mean"] for row in judged(tmp_path / "run")] == [pytest.approx(0.7)] * 2
