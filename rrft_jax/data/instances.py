"""Which records a policy can learn from: how often it answered each of them right (RIF-RFT, arXiv 2507.05386)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Counts(NamedTuple):
    """Of `total` rollouts on a record, `correct` were right."""

    correct: int
    total: int


def keeps(counts: Counts, drop_always_right: bool = False) -> bool:
    """Whether a record stays: some rollout was right. drop_always_right: and, of several, some was wrong."""
    return counts.correct >= 1 and not (drop_always_right and counts.correct == counts.total)


def read_counts(path: str | Path) -> dict[str, Counts]:
    """Counts by the record's id, from a file of launch/filter_instances.py. ValueError names the file and the line."""
    path, found = Path(path).expanduser(), {}
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogatepass").splitlines()
    except OSError as error:
        raise ValueError(
            f"config.data.filter={path} cannot be read ({error}): launch/filter_instances.py writes it"
        ) from None
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            found[record["id"]] = Counts(int(record["correct_count"]), int(record["total_count"]))
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path}, line {number}: no counts of a record; remove the line, or the file") from None
    return found


def check_kept(example_id: str, counts: Mapping[str, Counts], drop_always_right: bool) -> None:
    """ValueError, with the counts, for a record that is left out; one that was not counted is an error of its own."""
    if example_id not in counts:
        raise ValueError("config.data.filter has no counts of it")
    found = counts[example_id]
    if not keeps(found, drop_always_right):
        raise ValueError(f"{found.correct} of {found.total} rollouts were right")
