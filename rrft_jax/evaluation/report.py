"""The table of an evaluation: our columns with intervals, and the published rows where they may be compared."""

from collections.abc import Mapping, Sequence
from typing import Any

from rrft_jax.evaluation.benchmarks import Benchmark, benchmarks
from rrft_jax.evaluation.published import comparable
from rrft_jax.evaluation.statistics import Estimate, average

SCORES = ("paper_score", "strict_score")


def table(results: Mapping[str, Mapping[str, Any]], label: str, known: Sequence[Benchmark] = ()) -> str:
    """Markdown: a row per score, a column per benchmark and an average per task, in per cent with 95 % intervals.

    results: benchmark name -> its numbers (`runner.run_benchmark`). known: benchmarks besides the package's own. A row
    follows for each metric that a task takes of the whole set, in its own unit, then published rows for the columns of
    which the whole published file was scored; they are to be compared with paper_score. Beneath the table
    stands what is known to be wrong in them, and how many records of a file could not be used or were not answered.
    """
    columns = _columns(results, known)
    rows = []
    for name in SCORES:
        found = {b: Estimate(**numbers[name]) for b, numbers in results.items()}
        rows.append([f"{label}, {name}", *(_cell(average([found[b] for b in names])) for _, names in columns)])
    for name in dict.fromkeys(metric for numbers in results.values() for metric in numbers.get("set_metrics", ())):
        cells = [_metric([results[b].get("set_metrics", {}).get(name) for b in names]) for _, names in columns]
        rows.append([f"{label}, {name}", *cells])
    published = comparable([b for b, n in results.items() if _is_whole(n)])
    for row in published:
        cells = [_plain([row.scores.get(b) for b in names]) for _, names in columns]
        rows.append([f"{row.model} {row.method} (published)".replace("  ", " "), *cells])
    notes = [f"{row.model} {row.method}: {row.note}." for row in published if row.note]
    notes += [
        f"{b}: {len(n['skipped'])} of its records could not be used ({b}.json lists them)."
        for b, n in results.items()
        if n["skipped"]
    ]
    notes += [
        f"{b}: {len(n['unanswered'])} of its questions have no answer yet ({b}.json lists them)."
        for b, n in results.items()
        if n.get("unanswered")
    ]
    return "\n\n".join([markdown(["", *(title for title, _ in columns)], rows), *notes])


def _is_whole(numbers: Mapping[str, Any]) -> bool:
    """Whether the numbers are of a whole published file. What an endpoint refuses is not drawn at random: the rest is
    another benchmark."""
    return numbers["source"] == "published" and not numbers["limit"] and not numbers.get("unanswered")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, its columns padded so that it reads well as plain text too."""
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    line = lambda row: "| " + " | ".join(x.ljust(w) for x, w in zip(row, widths, strict=True)) + " |"  # noqa: E731
    return "\n".join([line(head), line(["-" * w for w in widths]), *map(line, rows)])


def _columns(results: Mapping[str, Any], known: Sequence[Benchmark]) -> list[tuple[str, list[str]]]:
    """Title and the benchmarks it averages: each benchmark, then its task where several of it are there."""
    columns: list[tuple[str, list[str]]] = []
    tasks: dict[str, list[Benchmark]] = {}
    for benchmark in {b.name: b for b in (*benchmarks(), *known)}.values():
        if benchmark.name in results:
            tasks.setdefault(benchmark.task.name, []).append(benchmark)
    for mine in tasks.values():
        columns += [(b.name, [b.name]) for b in mine]
        if len(mine) > 1:
            columns.append((f"{mine[0].name.partition('_')[0]} mean", [b.name for b in mine]))
    return columns


def _cell(value: Estimate) -> str:
    return f"{100 * value.mean:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def _plain(values: Sequence[float | None]) -> str:
    return _mean(values, ".2f")


def _metric(values: Sequence[float | None]) -> str:
    return _mean(values, ".4g")


def _mean(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):{form}}" if len(known) == len(values) else ""
