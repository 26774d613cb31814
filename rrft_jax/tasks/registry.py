"""The tasks by name: a new one is a module below `tasks/` and one line in `_TASKS`."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rrft_jax.data.example import Example
from rrft_jax.tasks.visual_counting import generator, prompts


@dataclass(frozen=True)
class Task:
    """What the pipeline needs of a task.

    make: (seed, index, split, domain "in" | "out") -> Example, a pure function of its arguments.
    format_prompt: (template name, problem) -> the user's text. targets: SFT target name -> Example -> completion.
    image_size: (height, width) of the generated pictures.
    """

    name: str
    make: Callable[[int, int, str, str], Example]
    format_prompt: Callable[[str, str], str]
    targets: Mapping[str, Callable[[Example], str]]
    image_size: tuple[int, int]


_TASKS = {
    "visual_counting": Task(
        "visual_counting",
        generator.example,
        prompts.format_prompt,
        {"cot": prompts.cot_target, "ans": prompts.ans_target},
        (112, 112),
    ),
}


def get_task(name: str) -> Task:
    """Raises ValueError that lists the near names."""
    if name not in _TASKS:
        near = difflib.get_close_matches(name, _TASKS, n=3, cutoff=0.4) or list(_TASKS)
        raise ValueError(f"config.task={name!r} is no task; did you mean {', '.join(near)}?")
    return _TASKS[name]
