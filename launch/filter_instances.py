"""Counts, for every record of a folder, how many of K rollouts of a policy are right (RIF-RFT, arXiv 2507.05386).

    python launch/filter_instances.py --checkpoint=nano --task=counting --data_dir=data/mine --output=workdirs/filter
    python launch/train.py --config=configs/grpo_counting.py:data=data/mine \\
        --config.data.filter=workdirs/filter/rollouts.jsonl

rollouts.jsonl holds a line per record with its texts, correct_count and total_count. Training with config.data.filter
leaves out the records without a right rollout. After an interruption the same command resumes.
"""

import os
import sys
from pathlib import Path

from absl import app, flags, logging

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "nano, a HuggingFace directory or a finished workdir.", required=True
)  # fmt: skip
_DATA = flags.DEFINE_string("data_dir", None, "The records, as data= of a training names them.", required=True)
_TASK = flags.DEFINE_string("task", "vqa", "The task of the records: a name, or my_task.py:TASK.")
_SPLIT = flags.DEFINE_string("split", "", "This split; default: train, if any.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for rollouts.jsonl.", required=True)
_PROMPT = flags.DEFINE_string("prompt", "cot", "zero_shot, ans, cot, a template of the task, or a file.")
_REWARD = flags.DEFINE_string(
    "reward", "", "The registered reward that is 1 for a right rollout; default: what the task counts as right. "
    "boxed_accuracy reads \\boxed{}, boxed_filter_paper as the original's filter did.",
)  # fmt: skip
_K = flags.DEFINE_integer("rollouts", 8, "Rollouts of each record.", 1)
_TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "Of the rollouts.", 1e-6)
_NEW = flags.DEFINE_integer("max_new_tokens", 1024, "Longest rollout in tokens.", 1)
_SIDE = flags.DEFINE_integer("min_side", 28, "Records with a picture of a shorter side, in pixels, are left out.", 0)
_LIMIT = flags.DEFINE_integer("limit", 0, "The first so many records; 0: all.", 0)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.")
_BATCH = flags.DEFINE_integer("batch", 32, "Records at a time.", 1)
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Type of parameters and products.")
_CACHE = flags.DEFINE_string("compilation_cache", "~/.cache/rrft_jax/xla", "Keeps compiled programs; empty disables.")


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: every option is a --flag=value")
    quiet = logging.get_verbosity() <= logging.INFO
    if quiet:
        logging.set_verbosity(logging.WARNING)
    try:
        return run()
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        if not quiet:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command resumes from here", file=sys.stderr)
        return 130


def run() -> int:
    from tqdm import tqdm

    from rrft_jax.compilation import keep_programs
    from rrft_jax.data.folder import read_folder
    from rrft_jax.evaluation.questions import Decoding
    from rrft_jax.pretrained import resolve_init
    from rrft_jax.rewards import Pool, symbolic
    from rrft_jax.rewards.registry import get, options
    from rrft_jax.run.predictions import fingerprint, same_evaluation
    from rrft_jax.tasks.records import taken
    from rrft_jax.tasks.registry import get_task
    from rrft_jax.training.instances import count_right, histogram, large_enough

    keep_programs(_CACHE.value)
    task = get_task(_TASK.value, "--task")
    records = read_folder(_DATA.value, task.name, _SPLIT.value)
    examples, refused = taken(task, records.examples)
    usable = [e for e in examples if e.id not in refused and large_enough(e, _SIDE.value)][: _LIMIT.value or None]
    print(f"{len(usable)} of {len(examples)} records are counted", file=sys.stderr)
    directory = resolve_init(_CHECKPOINT.value, "--checkpoint")
    decoding = Decoding(_TEMPERATURE.value, 0, 1.0, _NEW.value, _K.value, _SEED.value)
    folder, name = Path(_OUTPUT.value), _REWARD.value or task.metric
    same_evaluation(folder, {
        "checkpoint": _CHECKPOINT.value, "weights": fingerprint(directory), "data_dir": _DATA.value, "task": task.name,
        "prompt": _PROMPT.value, "reward": name, "decoding": vars(decoding), "split": _SPLIT.value,
        "min_side": _SIDE.value, "dtype": _DTYPE.value,
    })  # fmt: skip
    with Pool(initializer=symbolic.load) as pool, tqdm(total=len(usable), file=sys.stderr) as bar:
        reward = get(name, **({"verify": symbolic.in_pool(pool)} if "verify" in options(name) else {}))
        ask = task.prompt_fn(_PROMPT.value, real=True)
        show = lambda done: bar.update(done - bar.n)  # noqa: E731
        counts = count_right(usable, ask, _sampler(directory, decoding), reward, folder, show)
    print(histogram(counts))
    return 0


def _sampler(directory: Path, decoding):
    import jax.numpy as jnp

    from rrft_jax.models.registry import read_config
    from rrft_jax.parallel.mesh import make_mesh
    from rrft_jax.pretrained import adapter_of, load_for_inference, load_parts
    from rrft_jax.rollout.answering import make_answerer

    mesh = make_mesh(preset="data", kv_heads=read_config(directory).num_kv_heads)
    model, processor = load_parts(directory, _DTYPE.value)
    adapter = adapter_of(_CHECKPOINT.value, directory, model.config)
    params = load_for_inference(directory, model.config, mesh, jnp.dtype(model.compute_dtype), adapter)
    return make_answerer(model, params, processor, mesh, decoding, _BATCH.value)


if __name__ == "__main__":
    app.run(main)
