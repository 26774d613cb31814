"""Measures a judge on pairs of LLMBar (arXiv 2310.07641) or RewardBench (arXiv 2403.13787), as RewardBench counts them.

    git clone https://github.com/princeton-nlp/LLMBar
    python launch/judge_bench.py --endpoint=http://localhost:8000/v1 --model=judge \\
        --pairs=LLMBar/Dataset/LLMBar --output=workdirs/judge
    python launch/judge_bench.py --checkpoint=DIR --adapter=workdirs/judge_sft/adapter \\
        --pairs=LLMBar/Dataset/LLMBar --output=workdirs/judge

The key comes from the environment (OPENAI_API_KEY). Replies are kept in OUTPUT, so that the same command asks nothing
twice and asks again what failed (exit code 1); OUTPUT/scores.json holds the accuracy of every subset and section.
"""

import asyncio
import json
import sys
from pathlib import Path

from absl import app, flags

_ENDPOINT = flags.DEFINE_string("endpoint", "", "OpenAI-compatible URL of the judge.")
_MODEL = flags.DEFINE_string("model", "", "Name of the judge at --endpoint.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "", "Judge loaded here: nano, a model directory, a workdir.")
_ADAPTER = flags.DEFINE_string("adapter", "", "LoRA adapter of --checkpoint, such as WORKDIR/adapter of a judge.")
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Of --checkpoint's arrays and products.")
_PAIRS = flags.DEFINE_string(
    "pairs", None, "LLMBar's folder with Natural/ and Adversarial/, or a JSONL file with RewardBench's fields.",
    required=True,
)  # fmt: skip
_OUTPUT = flags.DEFINE_string("output", None, "Folder for replies and scores.json.", required=True)
_LIMIT = flags.DEFINE_integer("limit", 0, "The first so many pairs of each subset; 0: all.", 0)
_K = flags.DEFINE_integer("k", 6, "Demonstrations in front of each pair.", 0)
_RUBRIC = flags.DEFINE_string("rubric", "", "A rubric of your own, a JSON file.")
_DEMONSTRATIONS = flags.DEFINE_string("demonstrations", "", "Demonstrations of your own, a JSONL file.")
_BOTH = flags.DEFINE_boolean("both_orders", True, "Ask for each pair in both orders; else in one, A and B in turn.")
_CONCURRENCY = flags.DEFINE_integer("concurrency", 8, "Pairs asked about at a time.", 1)
_RATE = flags.DEFINE_float("requests_per_minute", 0.0, "Most requests a minute; 0: no limit.", 0)
_NEW = flags.DEFINE_integer("max_new_tokens", 256, "Longest reply in tokens.", 1)


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: every option is a --flag=value")
    from rrft_jax.evaluation.judge_benchmark import measure, read_pairs
    from rrft_jax.files import write_atomic
    from rrft_jax.rewards.judge.rubric import PAIRWISE
    from rrft_jax.rewards.judge.settings import read_settings

    try:
        _check_flags()
        subsets = {name: pairs[: _LIMIT.value or None] for name, pairs in read_pairs(_PAIRS.value).items()}
        output = Path(_OUTPUT.value).expanduser()
        given = read_settings(
            PAIRWISE, _RUBRIC.value, _DEMONSTRATIONS.value, _K.value, _NEW.value, _BOTH.value, str(output), "--"
        )
        make = _served(given) if _ENDPOINT.value else _in_process(given)

        async def run():
            connection = make()  # within the loop
            try:
                show = lambda name, value: print(f"{name}: {value:.4f} of {len(subsets[name])} pairs", flush=True)  # noqa: E731
                return await measure(connection.judge(), subsets, show)
            finally:
                await connection.close()

        found = asyncio.run(run())
        write_atomic(output / "scores.json", (json.dumps(found.report(), indent=1) + "\n").encode())
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, score in found.report()["sections"].items():
        print(f"{name} (of the subsets above): {score:.4f}")
    print(f"{found.unread} pairs with a reply that holds no verdict")
    if found.failed:
        first = ": ".join(next(iter(found.failed.items())))
        print(f"{len(found.failed)} pairs got no reply and count 0.5: run the command again. {first}", file=sys.stderr)
    return 1 if found.failed else 0


def _check_flags() -> None:
    if bool(_CHECKPOINT.value) == bool(_ENDPOINT.value) or bool(_ENDPOINT.value) != bool(_MODEL.value):
        raise ValueError("give either --checkpoint, or --endpoint with --model")
    kind, others = ("endpoint", ("adapter", "dtype")) if _ENDPOINT.value else ("checkpoint", ("requests_per_minute",))
    if unread := [f"--{name}" for name in others if flags.FLAGS[name].present]:
        raise ValueError(f"{', '.join(unread)}: of no use with --{kind}, leave it out")


def _served(given):
    from rrft_jax.remote.endpoint import Endpoint
    from rrft_jax.rewards.judge.served import ServedJudge, served

    endpoint = Endpoint(
        _ENDPOINT.value, _MODEL.value, concurrency=_CONCURRENCY.value, requests_per_minute=_RATE.value
    )
    chosen = served(endpoint, given, "--")
    return lambda: ServedJudge(chosen)


def _in_process(given):
    import jax.numpy as jnp

    from rrft_jax.models.adapter import is_adapter_directory
    from rrft_jax.models.registry import read_config
    from rrft_jax.parallel.mesh import make_mesh
    from rrft_jax.pretrained import load_for_inference, load_parts, resolve_init
    from rrft_jax.rewards.judge.in_process import InProcessJudge, in_process
    from rrft_jax.training.frozen_base import FrozenBase

    if is_adapter_directory(_CHECKPOINT.value):
        raise ValueError(f"--checkpoint={_CHECKPOINT.value} is an adapter: give it as --adapter, and its base here")
    directory = resolve_init(_CHECKPOINT.value, "--checkpoint")
    mesh = make_mesh(preset="data", kv_heads=read_config(directory).num_kv_heads)
    model, processor = load_parts(directory, _DTYPE.value)
    params = load_for_inference(directory, model.config, mesh, jnp.dtype(model.compute_dtype))
    base = FrozenBase(model, processor, mesh, params, directory)
    chosen = in_process(base, given, _ADAPTER.value, _CONCURRENCY.value, "--")
    return lambda: InProcessJudge(chosen)


if __name__ == "__main__":
    app.run(main)
