"""Measures a judge on pairs of LLMBar (arXiv 2310.07641) or RewardBench (arXiv 2403.13787), as RewardBench counts them.

    git clone https://github.com/princeton-nlp/LLMBar
    python launch/judge_bench.py --endpoint=http://localhost:8000/v1 --model=judge \\
        --pairs=LLMBar/Dataset/LLMBar --output=workdirs/judge

The key comes from the environment (OPENAI_API_KEY). Replies are kept in OUTPUT, so that the same command asks nothing
twice and asks again what failed (exit code 1); OUTPUT/scores.json holds the accuracy of every subset and section.
"""

import asyncio
import json
import sys
from pathlib import Path

from absl import app, flags

_ENDPOINT = flags.DEFINE_string("endpoint", None, "OpenAI-compatible URL of the judge.", required=True)
_MODEL = flags.DEFINE_string("model", None, "Its name there.", required=True)
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
_CONCURRENCY = flags.DEFINE_integer("concurrency", 8, "Requests at a time.", 1)
_RATE = flags.DEFINE_float("requests_per_minute", 0.0, "Most requests a minute; 0: no limit.", 0)
_NEW = flags.DEFINE_integer("max_new_tokens", 256, "Longest reply in tokens.", 1)


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: every option is a --flag=value")
    from rrft_jax.evaluation.judge_benchmark import measure, read_pairs
    from rrft_jax.files import write_atomic
    from rrft_jax.remote.endpoint import Endpoint
    from rrft_jax.rewards.judge.backend import Connection, served
    from rrft_jax.rewards.judge.rubric import PAIRWISE

    try:
        subsets = {name: pairs[: _LIMIT.value or None] for name, pairs in read_pairs(_PAIRS.value).items()}
        output = Path(_OUTPUT.value).expanduser()
        endpoint = Endpoint(
            _ENDPOINT.value, _MODEL.value, concurrency=_CONCURRENCY.value, requests_per_minute=_RATE.value
        )
        chosen = served(
            PAIRWISE, endpoint, _RUBRIC.value, _DEMONSTRATIONS.value, _K.value, _NEW.value, _BOTH.value, str(output),
            "--",
        )  # fmt: skip

        async def run():
            connection = Connection(chosen)
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


if __name__ == "__main__":
    app.run(main)
