"""Which records a policy can learn from: how often it answered each of them right (RIF-RFT, arXiv 2507.05386)."""

import json
from collections.abc import Collection, Mapping
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
        raise ValueError("no counts of it: too long, a picture missing or with a side under 28 pixels, or not asked")
    found = counts[example_id]
    if not keeps(found, drop_always_right):
        raise ValueError(f"{found.correct} of {found.total} rollouts were right")


def left_out(
    names: Collection[str], counts: Mapping[str, Counts], drop_always_right: bool, field: str
) -> dict[str, str]:
    """Which of the examples are left out, each with the reason. ValueError, with counts, where all of them are; field:
    what asked for the filter."""
    reasons = {}
    for name in names:
        try:
            check_kept(name, counts, drop_always_right)
        except ValueError as error:
            reasons[name] = str(error)
    if len(reasons) < len(names):
        return reasons
    known = [counts[name] for name in names if name in counts]
    right, total = sum(c.correct for c in known), sum(c.total for c in known)
    remedy = "start from a policy that answers some of them, count more rollouts of each, or train without the filter"
    if right and right == total:
        remedy = "set config.data.filter_always_right=False, or take harder examples"
    elif not known:
        remedy = "give the counts of these examples, or train without the filter"
    raise ValueError(
        f"{field} keeps none of the {len(names)} examples to train on: {len(known)} of them are counted, and {right} "
        f"of their {total} rollouts were right; {remedy}"
    )
