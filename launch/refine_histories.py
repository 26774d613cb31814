"""Histories of navigation records from what the current policy thinks (UI-Venus), once an epoch. Two commands:

    python launch/refine_histories.py --records=steps.jsonl --checkpoint=workdirs/mine --samples=8 \\
        --pools=pools.json --output=epoch2/steps.jsonl
    python launch/train.py --config=configs/ui_venus.py:navigation,data=epoch2,init=workdirs/mine

The first draws completions of the checkpoint for every step, by launch/evaluate.py, into epoch2_rollouts/;
interrupted, the same command resumes. It keeps the thoughts whose action is right in --pools, which grow
from epoch to epoch, puts one a step into the histories of later steps, and adds variants of steps with rare actions.
With --rollouts, predictions that launch/evaluate.py has left, it reads and writes files alone. Repeated, it gives the
same again.
"""

import json
import subprocess
import sys
from pathlib import Path

from absl import app, flags

from rrft_jax.data.records import list_problems
from rrft_jax.data.sources.common import read_lines
from rrft_jax.files import write_atomic
from rrft_jax.tasks.ui_navigation import histories

_HOW = histories.Refinement()
_RECORDS = flags.DEFINE_string(
    "records", None, "JSON Lines: id, image, problem, answer, size, episode, step.", required=True
)
_ROLLOUTS = flags.DEFINE_list("rollouts", [], "Predictions of launch/evaluate.py on these records, several by commas.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "", "The current policy, whose completions are drawn first.")
_SAMPLES = flags.DEFINE_integer("samples", 8, "Completions a step, at temperature 1.", 1)
_NEW = flags.DEFINE_integer("max_new_tokens", 128, "Longest completion in tokens.", 1)
_POOLS = flags.DEFINE_string("pools", None, "File of the pools; made if it is not there.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "JSON Lines to write: the records with their histories.", required=True)
_LENGTH = flags.DEFINE_integer("length", _HOW.length, "Words that a thought in a history should have.", 1)
_KEEP = flags.DEFINE_integer("keep", _HOW.keep, "Steps of a history: the last so many.", 1)
_RARE = flags.DEFINE_list("rare", list(_HOW.rare), "Actions whose steps come again with other histories.")
_VARIANTS = flags.DEFINE_integer("variants", _HOW.variants, "How often at most; 0: never.", 0)
_SEED = flags.DEFINE_integer("seed", _HOW.seed, "Seed of the draws.", 0)


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: every option is a --flag=value")
    try:
        return run()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run() -> int:
    records = _lines(Path(_RECORDS.value), "id, image, problem and answer")
    ids = {str(record.get("id")): record for record in records}
    if len(ids) < len(records):
        raise ValueError(f"{_RECORDS.value}: ids are missing or stand there twice; give each record its own")
    pools, read = histories.read_pools(Path(_POOLS.value)), 0
    files = [*_ROLLOUTS.value, *([_drawn()] if _CHECKPOINT.value else [])]
    for file in files:
        for reply in _lines(Path(file), "id and texts"):
            record = ids.get(str(reply.get("id")))
            if record is not None and isinstance(reply.get("texts"), list):
                found = histories.thoughts([str(t) for t in reply["texts"]], histories.as_example(record))
                pools = histories.merged(pools, str(record["id"]), found)
                read += 1
    if files and not read:
        raise ValueError(f"{', '.join(map(str, files))}: no step of {_RECORDS.value} has completions there")
    how = histories.Refinement(_LENGTH.value, _KEEP.value, tuple(_RARE.value), _VARIANTS.value, _SEED.value)
    out = histories.refined(records, pools, how)
    histories.write_pools(Path(_POOLS.value), pools)
    Path(_OUTPUT.value).parent.mkdir(parents=True, exist_ok=True)
    write_atomic(Path(_OUTPUT.value), "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in out).encode())
    covered, mean = histories.coverage(records, pools)
    print(f"{len(records)} steps, {read} with completions, {covered} with a pool of {mean:.1f} thoughts on average")
    print(f"wrote {_OUTPUT.value}: {len(out)} records, {len(out) - len(records)} of them variants of rare actions")
    return 0


def _drawn() -> Path:
    """The predictions of the checkpoint for the records, which launch/evaluate.py draws, or resumes to draw. OSError
    where it stops: it has said why."""
    epoch = Path(_OUTPUT.value).absolute().parent  # whose folders a training reads for records
    folder = epoch.with_name(f"{epoch.name}_rollouts")
    command = [
        sys.executable, str(Path(__file__).with_name("evaluate.py")), "--benchmark=navigation_id", "--prompt=cot",
        f"--checkpoint={_CHECKPOINT.value}", f"--data_dir={_RECORDS.value}", f"--samples={_SAMPLES.value}",
        "--temperature=1", "--top_p=1", "--top_k=0", f"--max_new_tokens={_NEW.value}", f"--seed={_SEED.value}",
        f"--output={folder}",
    ]  # fmt: skip
    if code := subprocess.run(command, check=False).returncode:
        raise OSError(f"launch/evaluate.py stopped with exit code {code}; the same command resumes it")
    return folder / "navigation_id.jsonl"


def _lines(path: Path, fields: str) -> list[dict]:
    """The objects of a JSON Lines file; ValueError lists its bad lines."""
    rows = [row for _, row in read_lines(path, fields)]
    if wrong := [row for row in rows if not isinstance(row, dict)]:
        raise ValueError(f"{path} has lines that cannot be read:\n{list_problems(tuple(wrong), 10)}")
    return rows


if __name__ == "__main__":
    app.run(main)
