"""Several tasks as one, for a training whose batches hold all of them: config.task=counting+structure+spatial."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from rrft_jax.data.example import Example
from rrft_jax.tasks.task import MAIN_SET, Choice, HeldOut, Shapes, Task

METRIC = "right"  # of an example: the metric of its own task


def mixture(parts: Sequence[Task]) -> Task:
    """One task of several. Generated examples are of each part in turn, so that example `index` of the mixture is
    example index // N of part index % N; records name their task in a field `task`.

    Each example is asked, trained on, rewarded and counted as right as in its own task (`Task.parts`). Templates are
    called PART:TEMPLATE. Lengths are the largest. There is one held-out set, of all parts in domain "in", and no
    benchmark: each part has its own. ValueError for parts that are named twice, or that give a reward different
    weights.
    """
    of = {part.name: part for part in parts}
    name = "+".join(of)
    if len(of) < len(parts) or len(of) < 2:
        raise ValueError(f"a mixture has two tasks or more, each named once; this one has {name}")
    rewards: dict[str, float] = {}
    for part in parts:
        for reward, weight in part.rewards.items():
            if rewards.setdefault(reward, weight) != weight:
                raise ValueError(
                    f"mixture {name}: {part.name} gives reward {reward} the weight {weight:g}, and another part "
                    f"{rewards[reward]:g}: a mixture needs equal ones, in a Task of your own (Task.rewards)"
                )
    of_own = lambda field: MappingProxyType({  # noqa: E731
        key: lambda example, key=key: field(of[example.task])[key](example) for key in _common(map(field, parts))
    })  # fmt: skip
    generated = all(part.make for part in parts)
    return Task(
        name=name,
        templates={f"{part.name}:{key}": text for part in parts for key, text in part.templates.items()},
        prompts=_choices(of, lambda part: part.prompts),
        published=_choices(of, lambda part: {**part.prompts, **part.published}),
        targets=of_own(lambda part: part.targets),
        rewards=rewards,
        metric=METRIC,
        make=(lambda *where: _make(parts, *where)) if generated else None,
        image_size=max(part.image_size for part in parts),
        held_out={MAIN_SET: HeldOut("in", "all tasks")} if generated else {},
        record=lambda example: _record(of, example),
        shapes=Shapes(
            prompt=max(part.shapes.prompt for part in parts), images=max(part.shapes.images for part in parts),
            completion=max(part.shapes.completion for part in parts),
        ),
        parts=of,
    )  # fmt: skip


def _common(mappings: Any) -> list[str]:
    """Keys that all have, in the first one's order."""
    first, *others = mappings
    return [key for key in first if all(key in other for other in others)]


def _choices(of: Mapping[str, Task], field: Callable[[Task], Mapping[str, Choice]]) -> dict[str, Choice]:
    def chosen(paradigm: str) -> Callable[[Example], str]:
        def template(example: Example) -> str:
            choice = field(of[example.task])[paradigm]
            return f"{example.task}:{choice if isinstance(choice, str) else choice(example)}"

        return template

    return {paradigm: chosen(paradigm) for paradigm in _common(map(field, of.values()))}


def _make(parts: Sequence[Task], seed: int, index: int, split: str, domain: str) -> Example:
    part = parts[index % len(parts)]
    assert part.make is not None
    return part.make(seed, index // len(parts), split, domain)


def _record(of: Mapping[str, Task], example: Example) -> Example:
    said = example.metadata.get("task")
    found = [part for part in of.values() if said in (part.name, part.alias)]
    if not found:
        raise ValueError(f"its field task is {said!r}, and a record of a mixture names one of {', '.join(of)}")
    return found[0].record(replace(example, task=found[0].name))
