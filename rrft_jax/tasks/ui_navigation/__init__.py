"""Navigation on screens (UI-Venus): the next action of a task, with a thought before it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from rrft_jax.answers.actions import read_action, write_action
from rrft_jax.data.example import Example
from rrft_jax.rewards import screen_action as rewards
from rrft_jax.tasks.localised import checked_box, checked_point, checked_size
from rrft_jax.tasks.scoring import Scorer
from rrft_jax.tasks.task import Column, HeldOut, Prediction, Shapes, Task
from rrft_jax.tasks.ui_navigation import generator

TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "NAVIGATE_SHORT": "{Question}\nNext action in <think> </think> <action> </action>.",
        "NAVIGATE_ANS": "{Question}\nNext action in <action> </action>.",
        # In our words: the published text is long, and config.prompt may name a file with it.
        "NAVIGATE_FULL": "You operate a device by its screen. This is the user's task, with the steps taken so "
        "far:\n{Question}\n\nThe actions are:\nClick(box=(x, y))\nDrag(start=(x1, y1), end=(x2, y2))\n"
        "Scroll(start=(x1, y1), end=(x2, y2), direction='down|up|right|left')\nType(content='')\nLaunch(app='')\n"
        "Wait()\nFinished(content='')\nCallUser(content='')\nLongPress(box=(x, y))\nPressBack()\nPressHome()\n"
        "PressEnter()\nPressRecent()\n\nThink first, then give one action and a short conclusion:\n<think>...</think>"
        "<action>...</action><conclusion>...</conclusion>",
    }
)


def _cot(example: Example) -> str:
    if not (example.cot or "").strip():
        raise ValueError(f"example {example.id} has no cot: train it with the direct-answer target instead")
    return f"<think>{example.cot}</think><action>{example.answer}</action>"


def _ans(example: Example) -> str:
    return f"<action>{example.answer}</action>"


def _record(example: Example) -> Example:
    """A gold action in pixels of the picture, as metadata `action` or as the answer, with `size`; `history` in the
    metadata, a list of the steps before, becomes part of the question."""
    said = example.metadata.get("action", example.answer)
    action = read_action(str(said))
    if action is None:
        raise ValueError(f"action {said!r:.80} is none of the 13 actions, such as Click(box=(868, 398)): correct it")
    size = checked_size(example)
    for key, value in action.values.items():
        if isinstance(value, tuple) and value:
            checked_point(value, size, f"action: {key}")
    if example.metadata.get("box") is not None:
        checked_box(example.metadata["box"], size)
    history = example.metadata.get("history") or []
    if not isinstance(history, list) or not all(isinstance(step, str) for step in history):
        raise ValueError(f"history is {history!r:.80}; give a list of texts, one a step")
    metadata = {key: value for key, value in example.metadata.items() if key != "history"}
    metadata |= {"action": write_action(action, whole=False), "size": list(size)}
    return replace(
        example, problem=generator.question(example.problem, history) if history else example.problem,
        answer=write_action(generator.action_in_thousandths(action, size)), metadata=metadata,
    )  # fmt: skip


def summarise(predictions: Sequence[Prediction]) -> Mapping[str, float]:
    """AndroidControl's and GUI-Odyssey's metrics: type accuracy, grounding (of clicks and long presses) and step
    success rate, the latter by action too."""
    examples, texts = [p.example for p in predictions], [p.texts[0] for p in predictions]
    types = rewards.action_type(texts, examples, range(len(texts)), 0)
    steps = rewards.action_step(texts, examples, range(len(texts)), 0)
    by_type: dict[str, list[float]] = {}
    for example, value in zip(examples, steps, strict=True):
        by_type.setdefault(rewards.gold_action(example).name, []).append(value or 0.0)
    mean = lambda values: sum(v or 0.0 for v in values) / len(values)  # noqa: E731
    places = [rewards.grounded(text, example) for text, example in zip(texts, examples, strict=True)]
    pointed = [value for value in places if value is not None]
    grounding = {"grounding": mean(pointed)} if pointed else {}
    return {"type_accuracy": mean(types), **grounding, "step_success": mean(steps)} | {
        f"step_success_{name}": mean(values) for name, values in sorted(by_type.items())
    }


def _key(text: str) -> str | None:
    action = rewards.said_action(text)
    return write_action(action) if action else None


TASK = Task(
    name=generator.NAME,
    alias="navigation",
    order=14,
    templates=TEMPLATES,
    prompts={"zero_shot": "NAVIGATE_FULL", "ans": "NAVIGATE_ANS", "cot": "NAVIGATE_SHORT"},
    published={"zero_shot": "NAVIGATE_FULL", "ans": "NAVIGATE_ANS", "cot": "NAVIGATE_FULL"},
    targets={"cot": _cot, "ans": _ans},
    rewards={"action_format": 0.1, "action_type": 0.9, "action_coordinates": 0.9, "action_content": 0.9},
    paper_rewards={"action_format": 0.1, "action_type": 0.9, "action_coordinates": 0.9, "action_content": 0.9},
    metric="action_step",
    scorer=Scorer(
        strict=rewards.action_step, key=_key, answer_type=lambda example: rewards.gold_action(example).name
    ),
    summarise=summarise,
    make=generator.example,
    held_out={"eval": HeldOut("in", "in-domain"), "eval_ood": HeldOut("out", "other words")},
    benchmarks=(
        Column(name="navigation_id", title="Steps"), Column(name="navigation_ood", title="Other words", domain="out"),
    ),
    record=_record,
    rewrite=generator.rewritten,
    shapes=Shapes(prompt=176, images=1, completion=80),
)  # fmt: skip
