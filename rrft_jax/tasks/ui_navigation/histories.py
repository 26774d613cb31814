"""Histories of navigation from a policy's own thoughts (UI-Venus, arXiv 2508.10833, section 3.2).

Self-Evolving Trajectory History Alignment: of several completions for a step, the thoughts whose action is right enter
the step's pool; the one whose length is nearest to a target stands for the step in the histories of later ones.
Sparse Action Enhancement: a step with a rare action comes again with other thoughts of the pools in its history.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rrft_jax.answers.actions import read_action, write_action
from rrft_jax.data.example import Example
from rrft_jax.files import write_atomic
from rrft_jax.rewards.coordinates import size_of
from rrft_jax.rewards.screen_action import action_step, gold_action
from rrft_jax.tasks.streams import stream
from rrft_jax.tasks.ui_navigation import generator

Pools = Mapping[str, Sequence[str]]  # id of a step -> distinct thoughts, the first found first
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Refinement:
    """length: words that a thought should have. keep: steps of a history, the last ones. rare: names of actions that
    come again. variants: how often, each with another history. seed: of the draws."""

    length: int = 30
    keep: int = 5
    rare: tuple[str, ...] = ("LongPress", "CallUser", "PressRecent")
    variants: int = 4
    seed: int = 0


def thoughts(texts: Sequence[str], example: Example) -> list[str]:
    """The distinct thoughts of the completions whose action is right (`action_step`), in their order."""
    right = action_step(texts, [example] * len(texts), [0] * len(texts), 0)
    found = (thought_of(text) for text, value in zip(texts, right, strict=True) if value == 1.0)
    return list(dict.fromkeys(filter(None, found)))


def thought_of(text: str) -> str:
    """What stands in the first <think> pair, with single spaces; "" where there is none."""
    start = text.find("<think>")
    end = text.find("</think>", start) if start >= 0 else -1
    return " ".join(text[start + len("<think>") : end].split()) if end >= 0 else ""


def merged(pools: Pools, id: str, found: Iterable[str]) -> dict[str, list[str]]:
    """The pools with more thoughts of one step, each once."""
    whole = {key: list(value) for key, value in pools.items()}
    if fresh := list(dict.fromkeys([*whole.get(id, ()), *found])):
        whole[id] = fresh
    return whole


def select(pool: Sequence[str], length: int) -> str:
    """The thought whose number of words is nearest to `length`, the first of several; "" of an empty pool."""
    return min(pool, key=lambda thought: abs(len(thought.split()) - length), default="")


def refined(records: Sequence[Record], pools: Pools, how: Refinement) -> list[dict[str, Any]]:
    """The records in their order, each with the `history` of its episode, rare ones followed by their variants.

    records: of `data=`, with `episode` and `step` (a whole number), the gold action in pixels as `answer`, `size`, and
    perhaps `cot`, which stands for a step without a pool. A variant has its own id, `<id>-v<number>`. ValueError names
    the record whose action, size or place in its episode cannot be read, or is there twice.
    """
    episodes: dict[str, dict[int, Record]] = {}
    for record in records:
        steps = episodes.setdefault(str(record.get("episode")), {})
        place = record.get("step")
        if record.get("episode") is None or isinstance(place, bool) or not isinstance(place, int) or place in steps:
            raise ValueError(
                f"record {record.get('id')!r}: episode {record.get('episode')!r} and step {place!r}: give each its "
                "own, the step as a whole number"
            )
        steps[place] = record
    out = []
    for number, record in enumerate(records):
        steps = episodes[str(record["episode"])]
        before = [steps[place] for place in sorted(steps) if place < record["step"]][-how.keep :]
        own = [pools.get(str(step["id"]), ()) for step in before]
        chosen = [select(pool, how.length) for pool in own]
        base = {key: value for key, value in record.items() if key != "history"}
        lines = [_line(step, thought) for step, thought in zip(before, chosen, strict=True)]
        out.append(base | ({"history": lines} if lines else {}))
        if _action(record).name not in how.rare or not any(len(pool) > 1 for pool in own):
            continue
        rng = stream("histories", how.seed, number, "variants", "records")
        seen = {tuple(lines)}
        for _ in range(4 * how.variants):  # some draws repeat others
            if len(seen) > how.variants:
                break
            drawn = [pool[int(rng.integers(len(pool)))] if pool else "" for pool in own]
            lines = [_line(step, thought) for step, thought in zip(before, drawn, strict=True)]
            if tuple(lines) not in seen:
                out.append(base | {"id": f"{record['id']}-v{len(seen)}", "history": lines})
                seen.add(tuple(lines))
    return out


def as_example(record: Record) -> Example:
    """A record as rewards see it."""
    size = record.get("size")
    metadata = {"action": record.get("answer"), "size": size, "box": record.get("box")}
    return Example(str(record.get("id")), generator.NAME, "-", "-", (), None, metadata)


def read_pools(path: Path) -> dict[str, list[str]]:
    """The pools of a file; none where it does not exist. ValueError where it is no file of `write_pools`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path} holds no pools ({error}): remove it, or name another file") from None
    if not isinstance(value, dict) or not all(isinstance(pool, list) for pool in value.values()):
        raise ValueError(f"{path} holds no pools: remove it, or name another file")
    return value


def write_pools(path: Path, pools: Pools) -> None:
    """The pools as one JSON object, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (json.dumps(dict(pools), ensure_ascii=False, indent=1) + "\n").encode())


def coverage(records: Sequence[Record], pools: Pools) -> tuple[int, float]:
    """How many steps have a pool, and the mean size of those."""
    sizes = [len(pools[str(r["id"])]) for r in records if pools.get(str(r["id"]))]
    return len(sizes), float(np.mean(sizes)) if sizes else 0.0


def _action(record: Record):
    return gold_action(as_example(record))


def _line(step: Record, thought: str) -> str:
    """A step in a history: its thought, or its own `cot`, and its action in thousandths."""
    action = read_action(write_action(_action(step), whole=False))
    assert action is not None  # what was written comes back
    said = thought or " ".join(str(step.get("cot") or "").split())
    done = write_action(generator.action_in_thousandths(action, size_of(as_example(step))))
    return (f"<think>{said}</think>" if said else "") + f"<action>{done}</action>"
