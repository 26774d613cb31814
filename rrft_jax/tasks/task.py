"""A task: everything the pipeline knows of it, in one object that its own folder or file defines."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from types import MappingProxyType
from typing import Any, NamedTuple

from rrft_jax.data.example import IMAGE_MARK, Example
from rrft_jax.rewards.coordinates import Frame
from rrft_jax.tasks.scoring import Scorer
from rrft_jax.tasks.texts import (
    ans_target,
    cot_target,
    fill,
    is_template_file,
    read_template,
    with_marks,
)

Choice = str | Callable[[Example], str]  # a template's name, or what names it for an example
MAIN_SET = "eval"  # the held-out set whose accuracy chooses the best checkpoint; of records it is the only one


class HeldOut(NamedTuple):
    """A held-out set of generated examples. domain: of which distribution; title: its name in a report."""

    domain: str
    title: str


class Prediction(NamedTuple):
    """A question and its answers, for a metric of the whole set. example: without its pictures."""

    example: Example
    texts: Sequence[str]


def _mapping(**values: Any) -> Any:
    return field(default_factory=lambda: MappingProxyType(values))


@dataclass(frozen=True, kw_only=True)
class Column:
    """A benchmark: one column of the results.

    name: unique among all tasks; tables call the task by the part of it before the first "_". title: as published.
    domain: the distribution that the task generates for it. file: the stem of the published test file, "" where there
    is none; split: what the readers of data sets call that file. prompts: paradigm -> template, where the published
    evaluation prompts otherwise than `Task.published` says.
    """

    name: str
    title: str
    domain: str = "in"
    file: str = ""
    split: str = "test"
    prompts: Mapping[str, str] = _mapping()


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """Sizes of the generated examples: tokens of the longest prompt and completion under nano's tokenizer, pictures of
    one example."""

    prompt: int = 128
    images: int = 1
    completion: int = 96


@dataclass(frozen=True, kw_only=True)
class Stages:
    """How two-stage training divides the examples.

    first: examples of stage 1. rest: whether stage 2 trains on the remaining ones alone; else, where there are few, on
    all. epochs: passes of stage 2 over the records of a folder.
    """

    first: int = 1600
    rest: bool = True
    epochs: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """What a small base is pre-trained on besides answers. listing: the template that asks for a list of the objects.
    judged: from a thought to the spans (start, end) of the words that judge something; None: it has none of its own."""

    listing: str
    judged: Callable[[str], Sequence[tuple[int, int]]] | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task. Only `name`, `templates` and `prompts` have no default.

    name: registered, and `Example.task` of its examples. alias: a short name for command lines and tables. order: its
    place among the tasks.

    templates: prompt templates by name, with {Question} where the question goes. prompts: paradigm ("zero_shot", "ans",
    "cot", ...) -> template; published: the same for records, where it differs. replaced: paradigm or template of a
    training -> the one that evaluates it. targets: SFT target -> Example -> completion.

    rewards: weight of each reward that is not 0. paper_rewards: the same in `paper` mode; empty: there is none. metric:
    the reward whose full value counts as a right answer in held-out evaluation. scorer: scores of one answer in a
    benchmark. summarise: metrics of a whole set (mAP, gIoU, ...) by name, from its predictions.

    make: (seed, index, split, domain) -> Example, a pure function of its arguments; "in" is the training domain; None:
    the task has records only. image_size: (height, width) of its pictures. held_out: name of a held-out set in the
    metrics -> HeldOut. benchmarks: its columns.

    record: from a record to the example that is trained on, most often the same one; raises ValueError for a record
    that the task's rewards cannot score, which is then listed and left out.

    rewrite: (text, convention, frame) -> an answer whose places in the picture are in that convention
    (`rewards.coordinates`) as one in the convention that the rewards read; None: answers hold no places.

    parts: of a mixture, its tasks by name: a reward that only some of them have applies to their examples alone.
    """

    name: str
    templates: Mapping[str, str]
    prompts: Mapping[str, Choice]
    alias: str = ""
    order: int = 100
    published: Mapping[str, Choice] = _mapping()
    replaced: Mapping[str, str] = _mapping()
    targets: Mapping[str, Callable[[Example], str]] = _mapping(cot=cot_target, ans=ans_target)
    rewards: Mapping[str, float] = _mapping(accuracy=1.0, format=1.0)
    paper_rewards: Mapping[str, float] = _mapping()
    metric: str = "accuracy"
    scorer: Scorer = Scorer()
    summarise: Callable[[Sequence[Prediction]], Mapping[str, float]] | None = None
    make: Callable[[int, int, str, str], Example] | None = None
    image_size: tuple[int, int] = (112, 112)
    held_out: Mapping[str, HeldOut] = _mapping()
    benchmarks: tuple[Column, ...] = ()
    record: Callable[[Example], Example] = lambda example: example
    rewrite: Callable[[str, str, Frame], str] | None = None
    shapes: Shapes = Shapes()
    stages: Stages = Stages()
    pretraining: Pretraining | None = None
    parts: Mapping[str, "Task"] = _mapping()

    def __post_init__(self) -> None:
        where = f"Task {self.name!r}"
        if not self.name or any(c in self.name for c in ":,./\\ "):
            raise ValueError(f"{where}: a name is letters, digits and _, such as visual_counting")
        named = {**self.prompts, **self.published}
        for paradigm, choice in named.items():
            if isinstance(choice, str) and choice not in self.templates:
                raise ValueError(f"{where}: prompt {paradigm} names the template {choice!r}; there are {_list(self)}")
        if self.held_out and (self.make is None or MAIN_SET not in self.held_out):
            raise ValueError(f"{where}: held_out sets are generated (give make), and one of them is called {MAIN_SET}")
        if wrong := [name for name, value in self.held_out.items() if not isinstance(value, HeldOut)]:
            raise ValueError(f"{where}: held_out[{wrong[0]!r}] must be HeldOut(domain, title)")

    def prompt_fn(self, prompt: str, real: bool = False, marks: bool = False) -> Callable[[Example], str]:
        """The prompt function: from an example to the text of the user's turn.

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
        if not isinstance(choice, str):
            return lambda example: fill(self.templates[choice(example)], question(example))
        if choice not in self.templates:
            raise ValueError(
                f"prompt {prompt!r} is neither a paradigm of {self.name} ({', '.join(choices)}), one of its templates "
                f"({_list(self)}), nor a file"
            )
        template = self.templates[choice]
        return lambda example: fill(template, question(example))

    def shown(self) -> tuple[tuple[str, str, str], ...]:
        """What the progress bar of a training with rewards shows: (label, metric, format)."""
        return ((self.metric, f"rewards/{self.metric}/mean", "{:.3f}"),)

    def set_metrics(self, predictions: Sequence[Prediction]) -> dict[str, float]:
        """What `summarise` returns for a whole set; empty without one. ValueError where that is no mapping from names
        to finite numbers."""
        found = self.summarise(predictions) if self.summarise and predictions else {}
        good = isinstance(found, Mapping) and all(
            isinstance(name, str) and isinstance(value, Real) and math.isfinite(value) for name, value in found.items()
        )
        if not good:
            raise ValueError(f"Task {self.name!r}: summarise must give finite numbers by name, and gave {found!r}")
        return {name: float(value) for name, value in found.items()}

    def titles(self) -> dict[str, str]:
        """Titles of the held-out sets by name, for reports."""
        return {name: each.title for name, each in self.held_out.items()} or {MAIN_SET: "held-out records"}


def _list(task: Task) -> str:
    return ", ".join(task.templates)
