"""What a run tells at its end: titles come from the task, and so do metrics of its own."""

import json

from rrft_jax.run.report import result_table


def test_held_out_sets_have_their_titles_and_own_metrics_their_rows(tmp_path):
    lines = [
        {"step": 0, "eval/accuracy": 0.25, "eval/score": 0.25, "eval/mAP": 0.5, "eval_left/accuracy": 0.0},
        {"step": 1, "loss": 2.0},
        {"step": 9, "eval/accuracy": 0.5, "eval/score": 0.5, "eval/mAP": 0.75, "eval_left/accuracy": 0.125},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [line.split("  ") for line in result_table(tmp_path, {"eval": "in-domain"}).splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells[3:-1] == [
        ["in-domain: accuracy", "25.0 %", "50.0 %", "+25.0 pp"],
        ["in-domain: mAP", "0.50", "0.75", "+0.25"],
        ["eval_left: accuracy", "0.0 %", "12.5 %", "+12.5 pp"],
    ]
