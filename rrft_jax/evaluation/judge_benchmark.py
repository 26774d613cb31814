"""How often a judge prefers the better of two responses: LLMBar's pairs, in RewardBench's subsets and section."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from rrft_jax.evaluation.rewardbench import section_scores
from rrft_jax.rewards.judge.conversation import Ask
from rrft_jax.rewards.judge.verdicts import compare

# Folder of LLMBar's Dataset/LLMBar -> subset of RewardBench.
LLMBAR: Mapping[str, str] = MappingProxyType({
    "Natural": "llmbar-natural", "Adversarial/Neighbor": "llmbar-adver-neighbor",
    "Adversarial/GPTInst": "llmbar-adver-GPTInst", "Adversarial/GPTOut": "llmbar-adver-GPTOut",
    "Adversarial/Manual": "llmbar-adver-manual",
})  # fmt: skip


class Pair(NamedTuple):
    """An instruction with the response that people prefer and the other one."""

    instruction: str
    chosen: str
    rejected: str


def read_llmbar(folder: str | Path) -> dict[str, list[Pair]]:
    """Pairs by subset, of the subsets that are there (FOLDER/Natural/dataset.json, ...). ValueError names file and
    record where one is no pair, or where there is none at all."""
    found = {}
    for place, subset in LLMBAR.items():
        path = Path(folder).expanduser() / place / "dataset.json"
        if path.exists():
            try:
                found[subset] = [_pair(record) for record in json.loads(path.read_text(encoding="utf-8"))]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}: a list of records with input, output_1, output_2 and label 1 or 2 is wanted ({error!r})"
                ) from None
    if not found:
        raise ValueError(f"{folder} holds none of {', '.join(f'{place}/dataset.json' for place in LLMBAR)}")
    return found


def measure(
    ask: Ask,
    subsets: Mapping[str, Sequence[Pair]],
    demonstrations: int = 6,
    on_subset: Callable[[str, float], None] = lambda name, accuracy: None,
) -> dict[str, dict[str, float]]:
    """{"subsets": accuracy of each, "sections": RewardBench's over these}. Both orders are asked: a judge that changes
    its mind with the order, or does not answer, has half a point."""
    accuracy = {}
    for name, pairs in subsets.items():
        found = compare(ask, [tuple(pair) for pair in pairs], demonstrations)
        accuracy[name] = sum(found) / len(found)
        on_subset(name, accuracy[name])
    return {"subsets": accuracy, "sections": section_scores(accuracy)}


def _pair(record: Mapping) -> Pair:
    both = record["output_1"], record["output_2"]
    if record["label"] not in (1, 2) or not all(isinstance(text, str) for text in (record["input"], *both)):
        raise ValueError(f"label {record['label']!r}")
    return Pair(record["input"], both[record["label"] - 1], both[2 - record["label"]])
