"""The page in a real, headless Chromium: a script at its end uses it as a person would, and writes down what it saw."""

import base64
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from rrft_jax.report import page
from tests.report.made import ATTACK, make_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]
# Before the page's own scripts: what goes wrong is counted.
WATCH = """<script>window.wrong = []; window.onerror = (what) => { wrong.push(String(what)); };
window.onunhandledrejection = (event) => { wrong.push(String(event.reason)); };
console.error = console.warn = (...what) => { wrong.push(what.join(" ")); };
document.addEventListener("securitypolicyviolation", (event) => wrong.push(event.violatedDirective));</script>"""
TOOLS = (Path(__file__).parent / "tools.js").read_text()


def use(file, script, tmp_path, *options):
    """What `script`, an async function's body, returns when it runs in the page."""
    text = file.read_text().replace("<head>", "<head>" + WATCH, 1)
    run = (
        f"<script>{TOOLS}(async () => {{ let found; try {{ found = await (async () => {{ {script} }})(); }} "
        "catch (error) { wrong.push(String(error.stack)); } "
        'document.body.replaceChildren(Object.assign(document.createElement("pre"), {id: "found", '
        "textContent: btoa(JSON.stringify({found, wrong}))})); })();</script></body>"
    )
    changed = tmp_path / "used.html"
    changed.write_text(text.replace("</body>", run))
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=60000", *options, "--dump-dom",
        changed.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=55)
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout)
    assert match, done.stderr[-2000:]
    answer = json.loads(base64.b64decode(match[1]))
    assert answer["wrong"] == []
    return answer["found"]


def test_curves_filters_and_hostile_text(tmp_path):
    runs = [make_run(tmp_path / "one"), make_run(tmp_path / "other", seed=1)]
    file = page.write_report(runs, tmp_path / "both.html")
    script = (Path(__file__).parent / "use.js").read_text()
    found = use(file, script, tmp_path, "--window-size=1280,900")
    assert found["drawn"] >= 3 and found["ink"] >= 3 and not found["attacked"] and found["scripts"] == 0
    assert found["smoother"] and found["series"] == ["one", "other"] and found["charts"] == ["KL to the reference"]
    assert found["step"] == "60" and found["all"] == "16 completions of 4 prompts" and found["text"] == ATTACK
    assert (found["gold"], found["said"], found["width"]) == (2, 2, "24")
    assert float(found["saidHeight"]) == pytest.approx(16)  # 400 thousandths of 40 pixels, by the gold answer's scale
    assert found["reward"] == "8 completions of 4 prompts" and found["length"] == "8 completions of 4 prompts"
    assert found["task"] == "8 completions of 2 prompts" and found["cut"] == "4 completions of 4 prompts"
    assert found["mark"] == 4 and found["every"] == "32 completions of 8 prompts"
    assert found["sorted"] == ["advantage +1.3", "advantage -1", "advantage -0.4", "advantage +0.1"]
    assert found["search"] == "4 completions of 4 prompts" and found["one"] == "16 completions of 4 prompts"
    assert found["visible"] == [True, False] and found["questions"] == ["answer at 1", "answer at 60"]
    assert found["light"] != found["dark"] and found["focus"] == "chart"


def test_fifty_megabytes_of_metrics_open_in_three_seconds_on_a_phone(tmp_path):
    run = make_run(tmp_path / "long")
    rng, names = np.random.default_rng(0), [f"metric_{k}" for k in range(40)]
    with open(run / "metrics.jsonl", "w") as file:
        for block in range(48):
            for row, values in enumerate(rng.normal(size=(1000, len(names)))):
                record = {"step": 1000 * block + row, "time": 0.0, **dict(zip(names, values.tolist(), strict=True))}
                file.write(json.dumps(record) + "\n")
    assert (run / "metrics.jsonl").stat().st_size > 50e6
    made = page.write_report([run])
    script = """await wait(() => document.querySelectorAll("[data-drawn]").length >= 1);
      return {drawn: document.querySelectorAll("[data-drawn]").length, width: document.documentElement.scrollWidth};"""
    blank = tmp_path / "blank.html"
    blank.write_text("<html><head></head><body></body></html>")

    def seconds(file, script):
        began = time.monotonic()
        return use(file, script, tmp_path, "--window-size=500,844"), time.monotonic() - began

    starting = min(seconds(blank, "return 0;")[1] for _ in range(2))  # the browser's own start
    (found, first), (_, second) = seconds(made, script), seconds(made, script)
    assert found["drawn"] >= 1 and found["width"] <= 500
    assert min(first, second) - starting < 3.0
