"""One step of a story on rendered screens, as a function of (seed, index, split, domain)."""

from rrft_jax.answers.actions import Action, read_action, split_reply, write_action
from rrft_jax.data.example import Example
from rrft_jax.rewards.coordinates import Frame, convert, frame
from rrft_jax.tasks.screens import UNIT, draw_screen, pixels
from rrft_jax.tasks.streams import stream
from rrft_jax.tasks.ui_navigation.stories import WORDS, draw_story

NAME = "ui_navigation"


def example(seed: int, index: int, split: str = "train", domain: str = "in", image_size: int = 112) -> Example:
    """One example, whatever was asked before. domain: "in", or "out" with other words on the screens."""
    if domain not in WORDS:
        raise ValueError(f"domain {domain!r} of navigation is not one of {', '.join(WORDS)}")
    rng = stream(NAME, seed, index, split, domain)
    kind, story = draw_story(rng, domain)
    place = int(rng.integers(len(story.steps)))
    step, size = story.steps[place], (image_size, image_size)
    gold = placed(step.action, UNIT, image_size)
    history = [
        write_action(action_in_thousandths(placed(done.action, UNIT, image_size), size)) for done in story.steps[:place]
    ]
    return Example(
        id=f"navigation-{domain}-{split}-{seed}-{index:06d}",
        task=NAME,
        problem=question(story.task, history),
        answer=write_action(action_in_thousandths(gold, size)),
        images=(draw_screen(step.elements, image_size),),
        cot=step.thought,
        metadata={
            "question_type": gold.name, "index": index, "split": split, "domain": domain, "size": list(size),
            "action": write_action(gold, whole=False), "box": pixels(step.box, image_size) if step.box else None,
            "story": kind, "step": place, "steps": len(story.steps),
            "listing": f"Objects: {', '.join(element.label for element in step.elements)}.",
        },
    )  # fmt: skip


def question(task: str, history: list[str]) -> str:
    """The task and what was done before it."""
    return "\n".join([f"Task: {task}", *(f"Step {number}: {done}" for number, done in enumerate(history, 1))])


def placed(action: Action, unit: float, size: float) -> Action:
    """The action with its points scaled from a screen of `unit` to one of `size` a side."""
    return _with_points(action, lambda point: tuple(v * size / unit for v in point))


def action_in_thousandths(action: Action, size: tuple[int, int]) -> Action:
    """An action in pixels with its points in thousandths of the sides."""
    return _with_points(action, lambda point: convert(point, "pixels", "thousandths", frame(*size)))


def rewritten(text: str, source: str, frame: Frame) -> str:
    """A completion whose action has its points in a convention of `rewards.coordinates`, with them in thousandths. What
    the action says in words stays."""
    said = split_reply(text)[1]
    action = read_action(said)
    if action is None or not any(isinstance(value, tuple) and value for value in action.values.values()):
        return text
    placed_anew = _with_points(action, lambda point: convert(point, source, "thousandths", frame))
    start = text.rindex(said, 0, text.rfind("</action>"))
    return text[:start] + write_action(placed_anew, whole=False) + text[start + len(said) :]


def _with_points(action: Action, change) -> Action:
    points = {key: change(v) if isinstance(v, tuple) and v else v for key, v in action.values.items()}
    return Action(action.name, points)
