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
from rrft_jax.report.gallery import EmbeddedPictures, gallery, held_out
from rrft_jax.run.diagnosis import replay
from rrft_jax.run.metrics import read_metrics

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
    found = importlib.util.find_spec("bokeh")
    places = list(found.submodule_search_locations or ()) if found else []
    files = [Path(place) / "server" / "static" / "js" / name for place in places[:1] for name in SCRIPTS]
    if not files or not all(file.exists() for file in files):
        raise MissingPackageError("report.html needs the package bokeh: pip install -e '.[report]'")
    return [file.read_text(encoding="utf-8").replace("</script", "<\\/script") for file in files]


def collect(workdirs: Sequence[str | Path]) -> dict[str, Any]:
    """All that the page shows, as JSON values."""
    runs, pictures = about.runs_of(workdirs), EmbeddedPictures()
    paths, names = [run["path"] for run in runs], [run["name"] for run in runs]
    records = [list(read_metrics(path)) for path in paths]
    metrics = list(map(metric_columns, records))
    configs = list(map(about.config_of, paths))
    groups, questions, warnings, tables = [], [], [], []
    for number, (path, name) in enumerate(zip(paths, names, strict=True)):
        shown, left_out = gallery(path, number, pictures)
        groups += shown
        questions += held_out(path, number, pictures)
        # Looking at each of many records would take longer than drawing them.
        group = configs[number].get("rollout.group", 2)
        _, found = replay(records[number], 1 + len(records[number]) // 5000, group if isinstance(group, int) else 2)
        warnings += [f"{name}, step {one.step}: {one.text}." for one in found]
        warnings += [f"{name}: {note}" for note in about.notes_of(path)]
        if left_out:
            warnings.append(f"{name}: the gallery leaves out {left_out} logged steps, evenly spread")
        tables += filter(None, [about.held_out_table(name, metrics[number]), *about.evaluation_tables(path)])
    return {
        "title": ", ".join(dict.fromkeys(Path(w).absolute().name for w in workdirs)),
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "runs": [
            {
                "name": run["name"], "stage": run["stage"], "state": about.state_of(run["path"]),
                "algorithm": str(config.get("algorithm", "")), "task": str(config.get("task", "")),
                "step": int(rows[-1]["step"]) if rows else 0, "steps": config.get("train.steps"),
            }
            for run, config, rows in zip(runs, configs, records, strict=True)
        ],
        "charts": charts(metrics), "pictures": pictures.urls, "groups": groups, "questions": questions,
        "warnings": warnings, "tables": tables,
        "about": [
            about.comparison("Versions, commit, seeds and devices", names, list(map(about.versions_of, paths))),
            about.comparison("Configuration", names, configs),
        ],
    }  # fmt: skip


def render(data: dict[str, Any], scripts: Sequence[str]) -> str:
    environment = Environment(loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined)
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Within a script element the parser looks for </script and <!-- alone, and neither is left.
    text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    own = {"css": asset("page.css"), "js": asset("common.js") + asset("page.js")}
    return environment.get_template("page.html").render(**data, data=text, scripts=scripts, own=own)


def asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")
