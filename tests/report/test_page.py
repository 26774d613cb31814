"""What a page is made of, without a browser."""

import json
import re

import numpy as np
import pytest

from rrft_jax.report import page
from rrft_jax.report.curves import CHARTS, POINTS, charts, metric_columns, thinned
from tests.report.made import ATTACK, make_run


def test_a_long_curve_keeps_its_ends_and_every_peak():
    rng = np.random.default_rng(0)
    x, y = np.arange(100_000.0), rng.normal(size=100_000)
    y[[12_345, 77_777]] = 50.0, -50.0
    a, b = thinned(x, y)
    assert len(a) <= POINTS + 2 and (np.diff(a) > 0).all()
    assert (a[0], a[-1], b[0], b[-1]) == (0, 99_999, y[0], y[-1])
    assert {12_345.0, 77_777.0} <= set(a.tolist()) and (y[a.astype(int)] == b).all()


def test_metrics_share_charts_by_kind_and_one_of_no_kind_has_its_own():
    names = ["rewards/a/mean", "rewards/b/mean", "mine/thing", "eval_ood/accuracy", "eval/questions"]
    made = charts([metric_columns([{"step": 1, "time": 0.0, **dict.fromkeys(names, 1.0)}])])
    titles = {chart["title"]: [series["name"] for series in chart["series"]] for chart in made}
    assert titles == {
        "Reward by function": ["rewards/a/mean", "rewards/b/mean"],
        "Held-out accuracy": ["eval_ood/accuracy"], "mine/thing": ["mine/thing"],
    }  # fmt: skip
    assert len({title for title, _ in CHARTS}) == len(CHARTS)


def test_what_a_model_wrote_never_becomes_markup(tmp_path):
    run = make_run(tmp_path / "run")
    text = page.write_report([run]).read_text()
    assert ATTACK not in text and "<img src=x" not in text
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1])
    assert data["groups"][0]["completions"][0]["text"] == ATTACK
    assert data["groups"][1]["metadata"] == {"box": [6, 4, 30, 24], "size": [60, 40]}
    assert [one["step"] for one in data["questions"][0]["answers"]] == [1, 60]
    assert any("sources had changes" in line for line in data["warnings"])
    ours = text.partition('<script id="data"')[0]  # behind it come the library and its links to its own pages
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', ours) and "default-src 'none'" in ours


def test_stages_and_missing_package_and_no_run(tmp_path, monkeypatch):
    run = make_run(tmp_path / "two")
    make_run(run / "stage1", 10, algorithm="sft")
    data = page.collect([run])
    assert [(one["name"], one["stage"]) for one in data["runs"]] == [("two, stage 1", 1), ("two, stage 2", 2)]
    with pytest.raises(ValueError, match="no run directory"):
        page.write_report([tmp_path])
    monkeypatch.setattr(page.importlib.util, "find_spec", lambda name: None)
    assert "pip install -e '.[report]'" in page.report_of_run(run)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("group", ["null", '"8"'])
def test_damaged_files_of_a_run_do_not_end_the_report(tmp_path, group):
    run = make_run(tmp_path / "run")
    (run / "config.json").write_text(f'{{"rollout": {{"group": {group}}}}}')
    lines = '{"resumed": true, "changed": [1]}', '{"resumed": true, "changed": {"a": 2}}', '{"re'
    (run / "sessions.jsonl").write_text("\n".join(lines))
    (run / "skipped.jsonl").mkdir()
    (run / "DONE").write_text("{")
    (run / "versions.json").write_text("[]")
    data = page.collect([run])
    assert data["runs"][0]["state"] == "finished"
    assert [line.partition(": ")[2] for line in data["warnings"]][-2:] == [
        "resumed 2 time(s)", "config.a: 2 when it was resumed",
    ]  # fmt: skip
