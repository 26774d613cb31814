"""Measures a judge on LLMBar's pairs (arXiv 2310.07641), as RewardBench counts them.

    git clone https://github.com/princeton-nlp/LLMBar
    python launch/judge_bench.py --endpoint=http://localhost:8000/v1 --model=judge \\
        --pairs=LLMBar/Dataset/LLMBar --output=workdirs/judge

The key comes from the environment (OPENAI_API_KEY). Replies are kept in OUTPUT/replies, so that the same command asks
nothing twice; OUTPUT/scores.json holds the accuracy of every subset and section.
"""

import json
import sys
from pathlib import Path

from absl import app, flags

_ENDPOINT = flags.DEFINE_string("endpoint", None, "OpenAI-compatible URL of the judge.", required=True)
_MODEL = flags.DEFINE_string("model", None, "Its name there.", required=True)
_PAIRS = flags.DEFINE_string("pairs", None, "Folder with Natural/ and Adversarial/ of LLMBar.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for replies and scores.json.", required=True)
_LIMIT = flags.DEFINE_integer("limit", 0, "The first so many pairs of each subset; 0: all.", 0)
_DEMONSTRATIONS = flags.DEFINE_integer("demonstrations", 6, "Demonstrations in front of each pair.", 0)
_CONCURRENCY = flags.DEFINE_integer("concurrency", 8, "Requests at a time.", 1)
_RATE = flags.DEFINE_float("requests_per_minute", 0.0, "Most requests a minute; 0: no limit.", 0)
_NEW = flags.DEFINE_integer("max_new_tokens", 256, "Longest reply in tokens.", 1)


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: every option is a --flag=value")
    from rrft_jax.evaluation.endpoint import Endpoint
    from rrft_jax.evaluation.judge_benchmark import measure, read_llmbar
    from rrft_jax.evaluation.judging import ask_endpoint
    from rrft_jax.files import write_atomic
    from rrft_jax.rewards.judge.cache import cached

    try:
        subsets = {name: pairs[: _LIMIT.value or None] for name, pairs in read_llmbar(_PAIRS.value).items()}
        server = Endpoint(
            _ENDPOINT.value, _MODEL.value, concurrency=_CONCURRENCY.value, requests_per_minute=_RATE.value
        )
        output = Path(_OUTPUT.value).expanduser()
        label = f"{_ENDPOINT.value} {_MODEL.value} {_NEW.value}"
        ask = cached(ask_endpoint(server, _NEW.value), label, output / "replies")
        show = lambda name, accuracy: print(f"{name}: {accuracy:.4f} of {len(subsets[name])} pairs", flush=True)  # noqa: E731
        found = measure(ask, subsets, _DEMONSTRATIONS.value, show)
        output.mkdir(parents=True, exist_ok=True)
        write_atomic(output / "scores.json", (json.dumps(found, indent=1) + "\n").encode())
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, score in found["sections"].items():
        print(f"{name} (of the subsets above): {score:.4f}")
    return 0


if __name__ == "__main__":
    app.run(main)
