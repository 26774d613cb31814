"""The page: data as JSON, a template, a style sheet and a script, and the plotting library's own script.

BokehJS is the smallest kept plotting library that a package of the index carries: 1.4 MB, against 4.8 MB of plotly and
a 33 MB wheel for vega. Whatever a model wrote comes in as JSON in which < is escaped, and is shown as text alone.
"""

import importlib.util
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rrft_jax.files import write_atomic
from rrft_jax.report import about
from rrft_jax.report.curves import charts, metric_columns
from rrft_jax.report.gallery import Pictures, by_question, logged
from rrft_jax.run.completions import FOLDER, HELD_OUT
from rrft_jax.run.diagnosis import replay
from rrft_jax.run.metrics import read_metrics
from rrft_jax.run.workdir import CONFIG, VERSIONS

FILE = "report.html"
ASSETS = Path(__file__).parent.parent / "assets" / "report"
SCRIPTS = ("bokeh.min.js", "bokeh-api.min.js")


class MissingPackageError(RuntimeError):
    """The plotting library is not installed; the message names the extra."""


def write_report(workdirs: Sequence[str | Path], output: str | Path | None = None) -> Path:
    """Writes one page about the runs in these directories, by default as report.html into the first of them.

    Raises MissingPackageError without the extra, ValueError for a directory without a run, or a damaged file in it.
    """
    scripts = plotting_scripts()
    data = collect(workdirs)
    file = Path(output) if output else Path(workdirs[0]) / FILE
    write_atomic(file, render(data, scripts).encode())
    return file


def report_of_run(workdir: str | Path) -> str | None:
    """Writes the page of a run; a line that says why not where that fails, which must end no training."""
    try:
        write_report([workdir])
    except Exception as error:
        return str(error) if isinstance(error, MissingPackageError) else f"no report: {type(error).__name__}: {error}"
    return None


def plotting_scripts() -> list[str]:
    """BokehJS as the installed package has it, without an import of the package."""
    bokeh = importlib.util.find_spec("bokeh")
    folder = Path((bokeh.origin if bokeh else None) or "").parent / "server" / "static" / "js"
    if not all((folder / name).is_file() for name in SCRIPTS):
        raise MissingPackageError("report.html needs the package bokeh: pip install -e '.[report]'")
    return [(folder / name).read_text(encoding="utf-8").replace("</script", "<\\/script") for name in SCRIPTS]


def collect(workdirs: Sequence[str | Path]) -> dict[str, Any]:
    """All that the page shows, as JSON values."""
    runs, pictures = about.runs_of(workdirs), Pictures()
    metrics, configs, versions = [], [], []
    groups, questions, warnings, tables = [], [], [], []
    for number, run in enumerate(runs):
        path, name = run.pop("path"), run["name"]
        records, config = list(read_metrics(path)), about.fields_of(path / CONFIG)
        run |= {
            "state": about.state_of(path), "algorithm": config.get("algorithm", ""), "task": config.get("task", ""),
            "step": records[-1]["step"] if records else 0, "steps": config.get("train.steps"),
        }  # fmt: skip
        metrics.append(metric_columns(records))
        configs.append(config)
        versions.append(about.fields_of(path / VERSIONS))
        shown, left_out = logged(path / FOLDER, number, pictures)
        groups += shown
        questions += by_question(logged(path / HELD_OUT, number, pictures)[0])
        # Looking at each of many records would take longer than drawing them.
        group = config.get("rollout.group")
        _, found = replay(records, 1 + len(records) // 5000, group if isinstance(group, int) else 2)
        warnings += [f"{name}, step {one.step}: {one.text}." for one in found]
        warnings += [f"{name}: {note}" for note in about.notes_of(path)]
        if left_out:
            warnings.append(f"{name}: the gallery leaves out {left_out} logged steps, evenly spread")
        tables += about.held_out_tables(name, metrics[-1]) + about.evaluation_tables(path)
    names = [run["name"] for run in runs]
    return {
        "title": ", ".join(dict.fromkeys(Path(w).absolute().name for w in workdirs)),
        "made": time.strftime("%Y-%m-%d %H:%M"), "runs": runs, "charts": charts(metrics), "pictures": pictures,
        "groups": groups, "questions": questions, "warnings": warnings, "tables": tables,
        "about": [
            about.comparison("Versions, commit, seeds and devices", names, versions),
            about.comparison("Configuration", names, configs),
        ],
    }  # fmt: skip


def render(data: dict[str, Any], scripts: Sequence[str]) -> str:
    environment = Environment(loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined)
    # Where there is no <, the parser finds no end of the script element that holds the text.
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return environment.get_template("page.html").render(**data, data=text, scripts=scripts, asset=asset)


def asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")
