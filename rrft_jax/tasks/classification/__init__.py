"""Classification by name with few examples (Visual-RFT): one object, and what kind it is."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from rrft_jax.answers.tags import extract_answer
from rrft_jax.data.example import Example
from rrft_jax.rewards.class_name import class_name, plain
from rrft_jax.rewards.class_name import paper as class_name_paper
from rrft_jax.tasks.classification import generator
from rrft_jax.tasks.localised import THINKING, one_line_target
from rrft_jax.tasks.scoring import Scorer
from rrft_jax.tasks.task import Column, HeldOut, Prediction, Shapes, Task
from rrft_jax.tasks.texts import ans_target

TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "CLASS_COT": f"{{Question}} {THINKING}",
        "CLASS_ANS": "{Question}",
    }
)

PUBLISHED = (
    "This is an image containing a(n) {kind}. Please identify the species / model of the {kind} based on the image.\n"
    "Output the thinking process in <think> </think> and final answer in <answer> </answer> tags.The output answer "
    "format should be as follows:\n<think> ... </think> <answer>species name</answer>\nPlease strictly follow the "
    "format."
)


def _record(example: Example) -> Example:
    """A question that is only what the picture holds, metadata `category` ("plant"), becomes the published one."""
    if example.problem != example.metadata.get("category"):
        return example
    return replace(example, problem=PUBLISHED.replace("{kind}", example.problem))


def summarise(predictions: Sequence[Prediction]) -> Mapping[str, float]:
    """Accuracy over questions, and its mean over classes."""
    by_class: dict[str, list[float]] = {}
    for example, texts in predictions:
        (value,) = class_name(texts[:1], [example], [0], 0)
        by_class.setdefault(plain(example.answer), []).append(value or 0.0)
    every = [value for values in by_class.values() for value in values]
    means = [sum(values) / len(values) for values in by_class.values()]
    return {"accuracy_of_questions": sum(every) / len(every), "accuracy_of_classes": sum(means) / len(means)}


def _paper(text, example):
    return class_name_paper([text], [example], [0], 0)[0] or 0.0


def _key(text: str) -> str | None:
    answer = extract_answer(text)
    return plain(answer.text) if answer else None


TASK = Task(
    name=generator.NAME,
    alias="classification",
    order=11,
    templates=TEMPLATES,
    prompts={"zero_shot": "CLASS_ANS", "ans": "CLASS_ANS", "cot": "CLASS_COT"},
    published={"zero_shot": "CLASS_ANS", "ans": "CLASS_ANS", "cot": "CLASS_ANS"},  # records hold the whole text
    targets={"cot": one_line_target, "ans": ans_target},
    rewards={"class_name": 1.0, "format": 1.0},
    paper_rewards={"class_name_paper": 1.0, "format_paper": 1.0},
    metric="class_name",
    scorer=Scorer(strict=class_name, paper=_paper, key=_key, answer_type=lambda example: "name"),
    summarise=summarise,
    make=generator.example,
    held_out={"eval": HeldOut("in", "in-domain"), "eval_ood": HeldOut("out", "vehicles")},
    benchmarks=(
        Column(name="classification_id", title="Solids"),
        Column(name="classification_ood", title="Vehicles", domain="out"),
    ),
    record=_record,
    shapes=Shapes(prompt=88, images=1, completion=40),
)  # fmt: skip
