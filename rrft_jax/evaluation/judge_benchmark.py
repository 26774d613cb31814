"""How often a judge prefers the better of two responses: pairs of LLMBar or RewardBench, by subset and section."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from rrft_jax.evaluation.rewardbench import SECTIONS, overall, section_scores
from rrft_jax.remote.client import Trouble
from rrft_jax.rewards.judge import items
from rrft_jax.rewards.judge.judging import Judge

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


@dataclass(frozen=True)
class Measured:
    """accuracy: of each subset, in [0, 1]. failed: pairs about which the judge gave no reply, and why, which count 0.5.
    unread: pairs with a reply that holds no verdict, which count 0.5 as well."""

    accuracy: Mapping[str, float]
    failed: Mapping[str, str]
    unread: int

    def report(self) -> dict:
        """Plain values: subsets, sections, and the overall score where every subset was judged."""
        every = {name for subsets in SECTIONS.values() for name in subsets}
        found = {"subsets": dict(self.accuracy), "sections": section_scores(self.accuracy)}
        whole = {"overall": overall(self.accuracy)} if every == set(self.accuracy) else {}
        return found | whole | {"unread": self.unread, "failed": dict(self.failed)}


def read_pairs(path: str | Path) -> dict[str, list[Pair]]:
    """Pairs by subset: LLMBar's folder, or a JSON Lines file with RewardBench's fields prompt, chosen, rejected and
    subset. ValueError names file and record where one is no pair, or where there is none at all."""
    path = Path(path).expanduser()
    return _read_lines(path) if path.is_file() else read_llmbar(path)


def read_llmbar(folder: str | Path) -> dict[str, list[Pair]]:
    """The subsets that are there, of FOLDER/Natural/dataset.json, FOLDER/Adversarial/Manual/dataset.json, ..."""
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


def _read_lines(path: Path) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            record = json.loads(line)
            subset, *texts = (record[field] for field in ("subset", "prompt", "chosen", "rejected"))
            if not all(isinstance(text, str) for text in (subset, *texts)):
                raise TypeError("a field is no text")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number}: an object with texts subset, prompt, chosen and rejected is wanted ({error!r})"
            ) from None
        found.setdefault(subset, []).append(Pair(*texts))
    section_scores(dict.fromkeys(found, 0.0))  # raises ValueError for a subset that RewardBench does not have
    if not found:
        raise ValueError(f"{path} holds no record")
    return found


async def measure(
    judge: Judge,
    subsets: Mapping[str, Sequence[Pair]],
    on_subset: Callable[[str, float], None] = lambda name, accuracy: None,
) -> Measured:
    """Accuracy by subset: the mean preference for the chosen response, which is shown as A. With `Judge.both_orders` a
    judge that changes its mind with the order has half a point of the pair; without it, it sees each order in turn."""
    accuracy, failed, unread = {}, {}, 0
    for name, pairs in subsets.items():
        found = await asyncio.gather(*(_compare(judge, pair, i) for i, pair in enumerate(pairs)))
        failed |= {f"{name}/{i}": value for i, value in enumerate(found) if isinstance(value, str)}
        judged = [(0.5, False) if isinstance(value, str) else value for value in found]
        unread += sum(missing for _, missing in judged)
        accuracy[name] = sum(value for value, _ in judged) / len(judged)
        on_subset(name, accuracy[name])
    return Measured(accuracy, failed, unread)


async def _compare(judge: Judge, pair: Pair, number: int) -> tuple[float, bool] | str:
    shown = items.Pair(*pair)
    turned = not judge.both_orders and number % 2 == 1
    try:
        found = await judge.compare(shown.swapped() if turned else shown)
    except Trouble as trouble:
        return trouble.why
    return (1.0 - found.value if turned else found.value), found.unread


def _pair(record: Mapping) -> Pair:
    both = record["output_1"], record["output_2"]
    if record["label"] not in (1, 2) or not all(isinstance(text, str) for text in (record["input"], *both)):
        raise ValueError(f"label {record['label']!r}")
    return Pair(record["input"], both[record["label"] - 1], both[2 - record["label"]])
