"""Compiles a run's programs for devices that you need not have, and prints what they need: memory, work, time.

    python launch/compile.py --config=configs/grpo_counting.py:2b --topology=v5e:4x4
    python launch/compile.py --config=configs/grpo_counting.py --topology=cpu:8 --json=report.json
    python launch/compile.py --config=configs/grpo_counting.py:7b --topology=local
    python launch/compile.py --config=configs/grpo_counting.py:2b --topology=v5e:4x4 --plan
    python launch/compile.py --config=configs/grpo_counting.py:qwen2.5-vl-7b,24gb --topology=gpu:24 --plan

TPU topologies need the `tpu` extra (libtpu), no TPU. --plan compiles nothing and prints what launch/train.py --dry-run
would print there, in seconds. The exit code is 1 where a program, or the plan, does not fit the chip.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from rrft_jax.config.command_line import parse_flags

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

_CONFIG = config_flags.DEFINE_config_file("config", help_string="Config file, with its argument: FILE.py[:arg].")
_TOPOLOGY = flags.DEFINE_string(
    "topology", "local", "v5e:4x4, v5p:2x2x4, v6e:2x4, ...; cpu:8; local devices; with --plan also gpu:24, a card of "
    "24 GB, or gpu:80x8.",
)  # fmt: skip
_JSON = flags.DEFINE_string("json", None, "File for the reports as JSON.")
_PROGRAMS = flags.DEFINE_list("programs", ["sample", "reference", "step"], "Which of them to compile.")
_SIZES = flags.DEFINE_string("model_config", None, "config.json of the model, instead of that of config.init.")
_TEXT = flags.DEFINE_string("text", None, "Folder for the compiled text of each program.")
_PLAN = flags.DEFINE_bool("plan", False, "Compile nothing, and print the memory plan for these devices.")
_HBM = flags.DEFINE_float("hbm_gib", 0.0, "Memory of a device in GiB, if it differs from the chip's or is not known.")


def main(_) -> int:
    quiet = logging.get_verbosity() <= logging.INFO
    if quiet:
        logging.set_verbosity(logging.WARNING)
    from rrft_jax.parallel import chips

    chips.prepare(_TOPOLOGY.value)  # before anything asks jax for its devices
    try:
        return run(_CONFIG.value, *chips.topology_devices(_TOPOLOGY.value))
    except (ValueError, OSError, RuntimeError) as error:
        if not quiet:  # --verbosity=1 shows where it came from
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(config, devices, chip) -> int:
    """Compiles, prints each report as it comes, and returns the exit code."""
    from rrft_jax.parallel.chips import StandIn
    from rrft_jax.parallel.mesh import make_mesh
    from rrft_jax.planning.compile import check, compile_programs, to_dict
    from rrft_jax.planning.device_memory import make_plan
    from rrft_jax.planning.dry_run import dry_run
    from rrft_jax.planning.measured import with_buckets
    from rrft_jax.planning.text import describe_program, evaluation_note, headline, summary
    from rrft_jax.pretrained import read_sizes
    from rrft_jax.training.validate import check_config

    if _HBM.value:
        chip = replace(chip, hbm=int(_HBM.value * 2**30))
    sizes = read_sizes(config.init, _SIZES.value)
    if _PLAN.value:
        return dry_run(config, sizes, devices, chip.hbm, chip.name)
    if isinstance(devices[0], StandIn):
        raise ValueError(
            f"--topology={_TOPOLOGY.value}: compiling for a GPU needs one (--topology=local); give --plan for the plan"
        )
    mesh = make_mesh(**config.mesh, devices=devices, kv_heads=sizes.num_kv_heads)
    check(_PROGRAMS.value)
    check_config(config)
    config = with_buckets(config)
    print(headline(config, sizes, mesh, chip), flush=True)
    text = Path(_TEXT.value) if _TEXT.value else None
    if text:
        text.mkdir(parents=True, exist_ok=True)
    reports = compile_programs(
        config, sizes, mesh, chip, _PROGRAMS.value,
        on_report=lambda report: print(describe_program(report, chip), flush=True),
        keep_text=lambda name, hlo: text and (text / f"{name}.txt").write_text(hlo),
    )  # fmt: skip
    plan = make_plan(config, sizes, mesh)
    print("\n".join(filter(None, (evaluation_note(plan, chip), summary(reports, chip, config, sizes, mesh, plan)))))
    if _JSON.value:
        record = {
            "topology": _TOPOLOGY.value,
            "argv": sys.argv,
            **to_dict(reports, chip, config, mesh, plan),
        }
        Path(_JSON.value).write_text(json.dumps(record, indent=1) + "\n")
    return 0 if plan.evaluation_fits(chip.hbm) and all(report.fits(chip) for report in reports) else 1


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
