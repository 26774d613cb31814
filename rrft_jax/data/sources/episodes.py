"""Episodes on a device as records of `ui_navigation`: one a step, with the actions before it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rrft_jax.answers.actions import Action, write_action
from rrft_jax.data.example import Example
from rrft_jax.data.records import Problem
from rrft_jax.data.sources.common import Item

TASK = "ui_navigation"
LEVELS = ("high", "low")  # what a step is asked with: the goal, or with it the instruction of the step


@dataclass(frozen=True)
class RecordedStep:
    """picture: as `Example.images` has them. size: its (width, height). action: with points in pixels. instruction: of
    this step alone. more: metadata."""

    picture: Any
    size: tuple[int, int]
    action: Action
    instruction: str
    more: Mapping[str, Any]


def check_level(level: str) -> None:
    if level not in LEVELS:
        raise ValueError(f"--level={level!r} is none of {', '.join(LEVELS)}")


def step_records(
    file: str, number: int, episode: str, goal: str, steps: Iterable[RecordedStep | Problem], level: str
) -> Iterator[Item]:
    """A record for each step that can be read. number: the episode's place in the file. The history of a step holds the
    steps before it that could be read, points in thousandths."""
    history: list[str] = []
    for place, step in enumerate(steps):
        if isinstance(step, Problem):
            yield (step,)
            continue
        answer = write_action(_scaled(step.action, [1000 / side for side in step.size]))
        problem = goal if level == "high" or not step.instruction else f"{goal} Now: {step.instruction}"
        metadata = {
            **step.more, "action": write_action(step.action, whole=False), "size": list(step.size),
            "history": list(history), "episode": episode, "step": place, "file": file, "record": number,
        }  # fmt: skip
        yield Example(f"{episode}-{place:03d}", TASK, problem, answer, (step.picture,), None, metadata)
        history.append(answer)


def _scaled(action: Action, factors: list[float]) -> Action:
    change = lambda value: tuple(v * f for v, f in zip(value, factors, strict=True))  # noqa: E731
    return Action(action.name, {k: change(v) if isinstance(v, tuple) and v else v for k, v in action.values.items()})
