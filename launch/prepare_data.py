"""Reads a published data set, or your own files, once: checks every record and writes what training opens.

    python launch/prepare_data.py --source=reason_rft --input=Reason-RFT-CoT-Dataset --data_dir=data
    python launch/prepare_data.py --source=parquet --input=mine.parquet --task=visual_counting --data_dir=data
    python launch/train.py --config=configs/grpo_counting.py:data=data/reason_rft/visual_counting/1.0.0

The result holds the pictures as encoded images and needs nothing of the input. A record that cannot be used is counted,
listed and left out; with --strict nothing is written before all are good. A finished task is not made again: after an
interruption the same command resumes with the first one that is missing. docs/data.md says where to get each data set.
"""

import sys
from collections import Counter
from pathlib import Path

from absl import app, flags, logging
from tqdm import tqdm

from rrft_jax.data.records import Problem, RecordError, list_problems
from rrft_jax.data.sources.common import TASKS, Found, Part
from rrft_jax.data.sources.episodes import LEVELS
from rrft_jax.data.sources.geometry3k import ANSWERS
from rrft_jax.data.sources.registry import SOURCES, find_parts

_SOURCE = flags.DEFINE_enum(
    "source", None, list(SOURCES), "; ".join(f"{s.name}: {s.about}" for s in SOURCES.values()), required=True
)
_INPUT = flags.DEFINE_string("input", None, "The downloaded folder; of your own tables also a file.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Where <source>/<task>/<version> is written.")
_SPLIT = flags.DEFINE_list(
    "split", None, "Only these splits, such as train,test_ood; a wrong name lists what is there."
)
_STRICT = flags.DEFINE_bool("strict", False, "Check everything first and stop with a list if any record is bad.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Delete what was prepared before and prepare it again.")
_LISTED = flags.DEFINE_integer("listed", 20, "How many bad records are printed; skipped.jsonl lists them all.", 0)
# Each of these is for some sources only, and refused by the others.
_TASK = flags.DEFINE_string(
    "task", None, "reason_rft: only this task; jsonl, parquet, webdataset: the task of all records. "
    f"{', '.join(TASKS)}, or your own, my_task.py:TASK.",
)  # fmt: skip
_IMAGE_ROOT = flags.DEFINE_string("image_root", None, "Where image paths start; not of every source.")
_CATEGORIES = flags.DEFINE_string(
    "categories", None, "coco: only these, by commas, or few_shot, novel, lvis_rare; !novel: all but these."
)
_LEVEL = flags.DEFINE_enum(
    "level", None, LEVELS, "android_control, gui_odyssey: ask with the goal alone (high, default), or with the step's "
    "instruction too (low).",
)  # fmt: skip
_ANSWERS = flags.DEFINE_enum("answers", None, ANSWERS, "geometry3k: ask for a choice's letter (default) or its number.")
_PER_SCENE = flags.DEFINE_integer("per_scene", None, "super_clevr: questions made from a scene (default 16).", 1)
_SEED = flags.DEFINE_integer("seed", None, "super_clevr: which questions are made (default 0).", 0)


def chosen(parts: tuple[Part, ...], splits: list[str] | None) -> dict[str, list[Part]]:
    """The wanted parts by task. Raises ValueError that lists the splits for one that no task has."""
    there = sorted({part.split for part in parts})
    for split in splits or ():
        if split not in there:
            raise ValueError(f"--split={split}: the input has {', '.join(there) or 'none'}")
    tasks: dict[str, list[Part]] = {}
    for part in parts:
        if not splits or part.split in splits:
            tasks.setdefault(part.task, []).append(part)
    return tasks


def progress(parts: list[Part], label: str) -> tqdm:
    return tqdm(total=sum(part.count for part in parts), desc=label, unit=" records", mininterval=0.5)


def report(written: Counter[str], problems: list[Problem], listed: int) -> str:
    lines = [f"  {split}: {count} examples" for split, count in written.items()]
    if problems:
        kinds = Counter(problem.kind for problem in problems)
        counts = ", ".join(f"{kind}: {count}" for kind, count in kinds.most_common())
        lines.append(f"  {len(problems)} problems, their records left out ({counts})")
        lines += [f"  {line}" for line in list_problems(problems, listed).splitlines()]
    return "\n".join(lines)


def nothing_usable(found: Found, folder: str, listed: int) -> str:
    """Why there is no part at all: what is wrong with the files, and what was left aside."""
    said = [list_problems(found.problems, listed)] if found.problems else []
    said += [f"  left aside {line}" for line in found.aside] or ([] if said else ["  its files hold no record"])
    return "\n".join([f"no usable file in {folder}:", *said])


def check_all(found: Found, tasks: dict[str, list[Part]]) -> None:
    """Raises RecordError that lists everything that is wrong with the wanted parts."""
    from rrft_jax.data.tfds_builder import check

    problems = list(found.problems)
    for task, parts in tasks.items():
        with progress(parts, f"checking {task}") as bar:
            problems += check(parts, bar.update)
    if problems:
        raise RecordError(f"nothing was written: {len(problems)} problems\n{list_problems(problems)}")


def prepare() -> None:
    flag_options = {
        "task": _TASK,
        "image_root": _IMAGE_ROOT,
        "categories": _CATEGORIES,
        "level": _LEVEL,
        "answers": _ANSWERS,
        "per_scene": _PER_SCENE,
        "seed": _SEED,
    }
    options = {name: flag.value for name, flag in flag_options.items() if flag.value is not None}
    own = ()
    if _TASK.value and _TASK.value not in TASKS:
        from rrft_jax.tasks.registry import get_task

        own = (get_task(_TASK.value, "--task").name,)
        options["task"] = own[0]
    found = find_parts(_SOURCE.value, _INPUT.value, (*TASKS, *own), **options)
    tasks = chosen(found.parts, _SPLIT.value)
    if not tasks:
        raise RecordError(nothing_usable(found, _INPUT.value, _LISTED.value))
    data_dir = Path(_DATA_DIR.value).expanduser()
    from rrft_jax.data.decoding import quiet_pillow
    from rrft_jax.data.tfds_builder import build, place  # tensorflow-datasets, after the input is known to be good

    quiet_pillow()
    if _STRICT.value:
        check_all(found, tasks)
    for line in found.aside:
        print(f"left aside {line}")
    source, root = SOURCES[_SOURCE.value], Path(_INPUT.value).expanduser()
    root = root.parent if root.is_file() else root
    told = found.problems
    for task, parts in tasks.items():
        splits = [part.split for part in parts]
        if not _OVERWRITE.value and (there := place(source, task, data_dir, splits)):
            print(f"{there} is there already, with these splits, whatever the options were; --overwrite makes it anew")
            continue
        with progress(parts, task) as bar:
            where, written, problems = build(source, parts, data_dir, root, bar.update, told, _OVERWRITE.value)
        print(f"{where}\n{report(written, problems, _LISTED.value)}", flush=True)
        told = ()


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"{' '.join(argv[1:])}: not a flag; every option is a --flag=value")
    logging.set_verbosity(logging.ERROR)
    try:
        prepare()
    except (ValueError, OSError) as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    app.run(main)
