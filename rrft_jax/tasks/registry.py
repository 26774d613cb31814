"""The tasks by name: a new one is a module below `tasks/` and one line in `_TASKS`."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from rrft_jax.data.example import Example
from rrft_jax.rewards import functions
from rrft_jax.tasks.spatial_transformation import generator as spatial
from rrft_jax.tasks.spatial_transformation import prompts as spatial_prompts
from rrft_jax.tasks.structure_perception import generator as structure
from rrft_jax.tasks.structure_perception import prompts as structure_prompts
from rrft_jax.tasks.texts import (
    IMAGE_MARK,
    SLOT,
    ans_target,
    cot_target,
    fill,
    is_template_file,
    read_template,
    with_marks,
)
from rrft_jax.tasks.visual_counting import generator as counting
from rrft_jax.tasks.visual_counting import prompts as counting_prompts

Choice = str | Callable[[Example], str]  # a template's name, or what names it for an example
HELD_OUT = MappingProxyType({"eval": "in", "eval_ood": "out"})


@dataclass(frozen=True)
class Task:
    """What the pipeline needs of a task.

    make: (seed, index, split, domain) -> Example, a pure function of its arguments; "in" is the training domain.
    held_out: name of a held-out set in the metrics -> its domain.
    templates: prompt templates by name. prompts: paradigm ("zero_shot", "ans", "cot", ...) -> template for generated
    examples; published: the same for real records, where it differs. targets: SFT target name -> Example -> completion.
    metric: the reward whose full value counts as a right answer. check: raises ValueError for a record whose answer
    that reward cannot read. image_size: (height, width) of generated pictures.
    """

    name: str
    make: Callable[[int, int, str, str], Example]
    templates: Mapping[str, str]
    prompts: Mapping[str, Choice]
    targets: Mapping[str, Callable[[Example], str]]
    image_size: tuple[int, int]
    metric: str = "accuracy"
    held_out: Mapping[str, str] = field(default_factory=lambda: HELD_OUT)
    published: Mapping[str, Choice] = field(default_factory=dict)
    check: Callable[[Example], object] = lambda example: None

    def asker(self, prompt: str, real: bool = False, marks: bool = False) -> Callable[[Example], str]:
        """The function that writes the user's text for an example.

        prompt: a paradigm, a template's name, or the path of a template file (`texts.is_template_file`).
        real: whether the examples are records of a published data set. marks: `texts.with_marks` as the question, for a
        processor whose image_mark is IMAGE_MARK. Raises ValueError that lists what there is.
        """
        question = with_marks if marks else lambda example: example.problem
        choices = {**self.prompts, **(self.published if real else {})}
        if is_template_file(prompt):
            text = read_template(prompt)
            if marks and IMAGE_MARK in text:
                raise ValueError(f"prompt template file {prompt} holds {IMAGE_MARK}, which comes with the question")
            return lambda example: fill(text, question(example))
        choice = choices.get(prompt, prompt)
        if isinstance(choice, str) and choice not in self.templates:
            raise ValueError(
                f"prompt {prompt!r} is neither a paradigm of {self.name} ({', '.join(choices)}), one of its templates "
                f"({', '.join(self.templates)}), nor a file"
            )
        name_of = choice if callable(choice) else lambda example: choice
        return lambda example: fill(self.templates[name_of(example)], question(example))


_TARGETS = MappingProxyType({"cot": cot_target, "ans": ans_target})
_TASKS = {
    task.name: task
    for task in (
        Task(
            counting.TASK,
            counting.example,
            counting_prompts.TEMPLATES,
            {"zero_shot": "COUNT_ZS", "ans": "ANS", "cot": "COUNT_COT"},
            _TARGETS,
            (112, 112),
        ),
        Task(
            structure.TASK,
            structure.example,
            structure_prompts.TEMPLATES,
            {"zero_shot": "GEO_ZS", "ans": "ANS", "cot": structure_prompts.choose_cot},
            _TARGETS,
            structure.IMAGE_SIZE,
        ),
        Task(
            spatial.TASK,
            spatial.example,
            spatial_prompts.TEMPLATES,
            {"zero_shot": "SPATIAL_ZS", "ans": "SPATIAL_ANS", "cot": "SPATIAL_COT"},
            _TARGETS,
            spatial.IMAGE_SIZE,
            metric="functions",
            held_out={"eval": "in", "eval_left": "left", "eval_right": "right"},
            published={
                "zero_shot": "TRANCE_ZS", "ans": "TRANCE_ANS", "cot": "TRANCE_COT", "caption": "TRANCE_CAPTION",
                "caption_eval": "TRANCE_CAPTION_EVAL",
            },
            check=functions.wanted,
        ),
    )
}  # fmt: skip
TASKS = tuple(_TASKS)


def get_task(name: str) -> Task:
    """Raises ValueError that lists the near names."""
    if name not in _TASKS:
        near = difflib.get_close_matches(name, _TASKS, n=3, cutoff=0.4) or list(_TASKS)
        raise ValueError(f"config.task={name!r} is no task; did you mean {', '.join(near)}?")
    return _TASKS[name]


def question_templates() -> dict[str, str]:
    """Every template of every task that has a slot for a question, by name."""
    return {name: text for task in _TASKS.values() for name, text in task.templates.items() if SLOT in text}
