"""Fills the table of docs/tpu_compile.md: every row compiled by launch/compile.py, one after the other.

    python scripts/tpu_compile_table.py --out=FOLDER   # what FOLDER does not hold yet; hours on two cores
    python scripts/tpu_compile_table.py --out=FOLDER --only=2b-v5e-2x4
    python scripts/tpu_compile_table.py --out=FOLDER --print     # the table from what is there

Needs the `tpu` extra (libtpu), no TPU.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from absl import app, flags

_OUT = flags.DEFINE_string("out", None, "Folder of the JSON reports, one per row.", required=True)
_ONLY = flags.DEFINE_list("only", [], "Names of rows, such as 2b-v5e-2x4 or 7b-v5p-2x2x4-lora; empty: all.")
_PRINT = flags.DEFINE_bool("print", False, "Compile nothing.")

SHAPES = {"buckets.prompt": 2048, "buckets.images": 1, "buckets.patches": 2560, "train.prompts": 16}
LORA = {"lora.rank": 64, "model.frozen_dtype": "bfloat16"}


@dataclass(frozen=True)
class Row:
    size: str
    topology: str
    fields: dict
    lora: bool = False

    @property
    def name(self) -> str:
        return f"{self.size}-{self.topology.replace(':', '-')}" + ("-lora" if self.lora else "")

    @property
    def settings(self) -> dict:
        return {**SHAPES, **self.fields, **(LORA if self.lora else {})}


# (size, topology): mesh and parts of a step. The least communication that leaves room by the memory plan.
SETTINGS = {
    ("2b", "v5e:2x4"): {"mesh.fsdp": 8, "train.micro_batches": 2},
    ("2b", "v5e:4x4"): {"mesh.fsdp": 16, "train.micro_batches": 1},
    ("2b", "v6e:2x4"): {"mesh.fsdp": 8, "train.micro_batches": 2},
    ("7b", "v5e:8x8"): {"mesh.fsdp": 16, "mesh.tensor": 4, "train.micro_batches": 1},
    ("7b", "v6e:4x4"): {"mesh.fsdp": 16, "train.micro_batches": 1},
    ("7b", "v5p:2x2x4"): {"mesh.fsdp": 16, "train.micro_batches": 1},
}
ROWS = [Row(size, topology, fields, lora) for lora in (False, True) for (size, topology), fields in SETTINGS.items()]


def compile_row(row: Row, folder: Path) -> None:
    """Runs launch/compile.py; its report, also of what does not fit, lands in the folder."""
    given = [f"--config.{name}={value}" for name, value in row.settings.items()]
    report = folder / f"{row.name}.json"
    command = [sys.executable, "launch/compile.py", f"--config=configs/grpo_counting.py:{row.size}"]
    command += [f"--topology={row.topology}", f"--json={report}", *given]
    print(" ".join(command), flush=True)
    if subprocess.run(command).returncode == 2:
        raise SystemExit(f"{row.name} could not be compiled")


def line(row: Row, folder: Path) -> str:
    """One line of the table; a dash where the row was not compiled."""
    settings = ", ".join(f"{name.split('.')[-1]} {value}" for name, value in row.fields.items())
    start = f"| {row.size.upper()} {'LoRA' if row.lora else 'full'} | `{row.topology}` | {settings} "
    path = folder / f"{row.name}.json"
    if not path.is_file():
        return start + "| not compiled yet | | | | |"
    report = json.loads(path.read_text())
    programs = {p["name"]: p for p in report["programs"]}
    cells = []
    for name in ("sample", "reference", "step"):
        p = programs[name]
        cells.append(f"{p['peak_bytes'] / 2**30:.1f} GiB, {p['bound_seconds']:.2f} s" if p["fits"] else "does not fit")
    total = f"{sum(p['bound_seconds'] for p in programs.values()):.1f} s" if report["fits"] else "-"
    return start + f"| {report['chip']['hbm'] / 2**30:.2f} GiB | " + " | ".join(cells) + f" | {total} |"


def main(_) -> None:
    folder = Path(_OUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    for row in ROWS:
        wanted = not _ONLY.value or row.name in _ONLY.value
        if wanted and not _PRINT.value and not (folder / f"{row.name}.json").is_file():
            compile_row(row, folder)
    print("| model | slice | settings | memory of a chip | sampling | reference | update | step at least |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(line(row, folder) for row in ROWS))


if __name__ == "__main__":
    app.run(main)
