"""The long instructions for real TRANCE samples, in our own words after the structure of the published ones.

A published checkpoint was trained with the published wording: for it, give the run a template file with that text.
"""

from rrft_jax.data.trance_text import DIRECTIONS, VALUES

_MEANINGS = {
    "size": "Give the object another size",
    "color": "Give the object another color",
    "material": "Make the object of another material",
    "shape": "Give the object another shape",
    "position": "Move the object in one direction",
}
_SIDES = {
    "front": "nearer to the viewer",
    "behind": "farther from the viewer",
    "left": "more to the left",
    "right": "more to the right",
}

_OPENING = """Solve the following task of spatial visual reasoning by these rules.

### Task
You see two pictures of one scene, the **initial image** and then the **final image**, and you are told the attributes \
of the objects in the initial image. Find the transformation that turns the initial scene into the final one.

### Objects
Every initial object is one tuple: `('object_id','shape','size','color','material')`.

### Transformation
"""
_SEQUENCE = "Write it as a sequence of functions"
_LENGTH = " with a length ranging from 1 to 4"
_FORM = ". Each function has the form `func(object_id, value)`.\n"
_DIRECTIONS_TITLE = "\nDirections are meant from where the object stood in the initial image:\n"
_FORMAT = "\n### Output Format\nGive these sections, in this order:\n"
_THINK = "Your reasoning, step by step, in `<think>...</think>`"
_ANSWER = "The final answer, which is the sequence of functions and nothing else, in `<answer>...</answer>`"
_SUMMARY = "A summary of how you will go about the task, in `<summary>...</summary>`"
_CAPTION = "A detailed description of both images, in `<caption>...</caption>`"
_TURN = "\nNow, it's your turn!\n\n{Question}"


def _functions() -> str:
    lines = []
    for number, (name, values) in enumerate(VALUES.items(), 1):
        listed = ", ".join(f"`{value}`" for value in values)
        lines.append(f"{number}. `change_{name}(object_id, value)`: {_MEANINGS[name]}. Values: {listed}.")
    return "\nThere are five functions:\n" + "\n".join(lines) + "\n"


def _directions() -> str:
    lines = [f"- `{name}`: {' and '.join(_SIDES[side] for side in name.split('_'))}." for name in DIRECTIONS]
    return _DIRECTIONS_TITLE + "\n".join(lines) + "\n"


def _sections(*parts: str) -> str:
    return _FORMAT + "\n".join(f"{number}. {part}." for number, part in enumerate(parts, 1)) + "\n"


_BODY = _OPENING + _SEQUENCE + _LENGTH + _FORM + _functions() + _directions()
_FOUR_SECTIONS = _sections(_SUMMARY, _CAPTION, _THINK, _ANSWER)

ANS = _BODY + _TURN + "\n"
ZS = _BODY + _TURN + " Please output the answer only with a sequence of functions for transformation.\n"
COT = (
    _BODY
    + _sections(_THINK, _ANSWER)
    + _TURN
    + " Output the thinking process in <think> </think> and final answer in <answer> </answer> tags.\n"
)
CAPTION = _OPENING + _SEQUENCE + _FORM + _functions() + _FOUR_SECTIONS + _TURN + " \n"
CAPTION_EVAL = (
    _BODY
    + _FOUR_SECTIONS
    + _TURN
    + " Output the summary process in <summary> </summary>, caption process in <caption>...</caption>, "
    "thinking process in <think> </think> and final answer in <answer> </answer> tags."
)
