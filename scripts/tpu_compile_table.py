"""Fills the table of docs/tpu_compile.md: every program of every row compiled by launch/compile.py, one at a time.

    python scripts/tpu_compile_table.py          # what --out does not hold yet; 1 to 30 minutes a program on two cores
    python scripts/tpu_compile_table.py --only=2b-v5e-2x4
    python scripts/tpu_compile_table.py --print  # the table from what is there
    python scripts/tpu_compile_table.py --plan   # the planned table, seconds

Needs the `tpu` extra (libtpu), no TPU. The most informative rows come first. A report that exists
is not made again: delete it when the programs have changed.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from absl import app, flags

_OUT = flags.DEFINE_string("out", "docs/tpu_compile", "Folder of the JSON reports, one per row and program.")
_ONLY = flags.DEFINE_list("only", [], "Names of rows, such as 2b-v5e-2x4 or 7b-v5p-2x2x4-lora; empty: all.")
_PRINT = flags.DEFINE_bool("print", False, "Compile nothing.")
_PLAN = flags.DEFINE_bool("plan", False, "Compile nothing, and print what the memory plan says of each row.")

PROGRAMS = ("step", "sample", "reference")
FIGURES = (
    "name", "fits", "peak_bytes", "planned_bytes", "compiler_memory", "flops", "traffic", "received", "seconds",
    "bound_seconds", "compile_seconds",
)  # fmt: skip
SHAPES = {"buckets.prompt": 2048, "buckets.images": 1, "buckets.patches": 2560, "train.prompts": 16}
LORA = {"lora.rank": 64}


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

    def report(self, folder: Path, program: str) -> Path:
        return folder / f"{self.name}.{program}.json"


# Each slice with LoRA, then in full. The :2b and :7b presets say micro_batches=0: a row of each device at a time.
ROWS = [
    Row(size, topology, fields, lora)
    for size, topology, fields in (
        ("2b", "v5e:2x4", {"mesh.fsdp": 8}),
        ("7b", "v5p:2x2x4", {"mesh.fsdp": 16}),
        ("2b", "v5e:4x4", {"mesh.fsdp": 16}),
        ("7b", "v6e:4x4", {"mesh.fsdp": 16}),
        ("2b", "v6e:2x4", {"mesh.fsdp": 8}),
        ("7b", "v5e:8x8", {"mesh.fsdp": 16, "mesh.tensor": 4}),
    )
    for lora in (True, False)
]


def compile_program(row: Row, program: str, folder: Path) -> None:
    """Runs launch/compile.py; its report, also of what does not fit, lands in the folder."""
    given = [f"--config.{name}={value}" for name, value in row.settings.items()]
    command = [sys.executable, "launch/compile.py", f"--config=configs/grpo_counting.py:{row.size}"]
    command += [f"--topology={row.topology}", f"--programs={program}", f"--json={row.report(folder, program)}", *given]
    print(" ".join(command), flush=True)
    if subprocess.run(command).returncode == 2:
        raise SystemExit(f"{row.name} could not be compiled")
    shorten(row.report(folder, program))


def shorten(path: Path) -> None:
    """Leaves the figures of a report; its lists of arrays and collectives are a hundred times as long."""
    report = json.loads(path.read_text())
    programs = [{name: program[name] for name in FIGURES} for program in report["programs"]]
    kept = {name: report[name] for name in ("topology", "mesh", "jax", "fits")}
    path.write_text(json.dumps({**kept, "programs": programs}, indent=1) + "\n")


def alive(found: dict) -> int:
    """Bytes of a chip in use at the fullest moment: `peak_bytes` without the holes of the compiler's block."""
    memory = found["compiler_memory"]
    results = memory["output_size"] - memory.get("alias_size", 0)
    return found["peak_bytes"] - memory["argument_size"] - memory["temp_size"] - results + memory["peak_memory"]


def line(row: Row, folder: Path) -> str:
    """One line of the table; a dash where a program was not compiled."""
    settings = ", ".join(f"{name.split('.')[-1]} {value}" for name, value in row.fields.items())
    start = f"| {row.size.upper()} {'LoRA' if row.lora else 'full'} | `{row.topology}` | {settings} "
    cells, bounds = [], []
    for program in ("sample", "reference", "step"):
        path = row.report(folder, program)
        if not path.is_file():
            cells.append("-")
            continue
        (found,) = json.loads(path.read_text())["programs"]
        if not found["fits"]:
            cells.append("does not fit")
            continue
        bounds.append(found["bound_seconds"])
        sizes = [found["peak_bytes"], alive(found), found.get("planned_bytes")]
        memory = " / ".join(f"{n / 2**30:.1f}" for n in sizes if n)
        slowest = max(found["seconds"], key=found["seconds"].get)
        cells.append(f"{memory} GiB, {found['bound_seconds']:.2f} s {slowest}")
    total = f"{sum(bounds):.1f} s" if len(bounds) == len(PROGRAMS) else "-"
    return start + "| " + " | ".join(cells) + f" | {total} |"


def planned(rows: list[Row]) -> list[str]:
    """Lines of the planned table, full training and LoRA of a slice side by side."""
    from rrft_jax.config.command_line import load_config
    from rrft_jax.parallel.chips import GIB, prepare, topology_devices
    from rrft_jax.parallel.mesh import make_mesh
    from rrft_jax.planning.device_memory import make_plan
    from rrft_jax.pretrained import read_sizes

    prepare(rows[0].topology)

    def phases(row: Row, devices: list) -> str:
        config, sizes = load_config(f"configs/grpo_counting.py:{row.size}"), read_sizes(row.size)
        for name, value in row.settings.items():
            room, field = name.split(".")
            config[room][field] = (value,) if room == "buckets" else value
        plan = make_plan(config, sizes, make_mesh(**config.mesh, devices=devices, kv_heads=sizes.num_kv_heads))
        return " / ".join(f"{n / GIB:.1f}" for n in (plan.sampling, plan.updating, plan.evaluating)) + " GiB"

    lines = []
    for lora, full in zip(rows[::2], rows[1::2], strict=True):
        devices, chip = topology_devices(full.topology)
        mesh = ", ".join(f"{name.split('.')[-1]} {value}" for name, value in full.fields.items())
        start = f"| {full.size.upper()} | `{full.topology}` | {mesh} | {chip.hbm / GIB:.2f} GiB "
        lines.append(f"{start}| {phases(full, devices)} | {phases(lora, devices)} |")
    return lines


def main(_) -> None:
    if _PLAN.value:
        print("| model | slice | mesh | chip | sampling / update / evaluation, full | the same, LoRA rank 64 |")
        print("| --- | --- | --- | --- | --- | --- |")
        print("\n".join(planned(ROWS)))
        return
    folder = Path(_OUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    for row in ROWS:
        for program in PROGRAMS if not _PRINT.value and (not _ONLY.value or row.name in _ONLY.value) else ():
            if not row.report(folder, program).is_file():
                compile_program(row, program, folder)
    print("| model | slice | settings | sampling | reference | update | step at least |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(line(row, folder) for row in ROWS))


if __name__ == "__main__":
    app.run(main)
