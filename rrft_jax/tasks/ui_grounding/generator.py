"""An instruction and the element of a rendered screen that it means, as a function of (seed, index, split, domain)."""

import numpy as np

from rrft_jax.data.example import Example
from rrft_jax.tasks.localised import in_thousandths
from rrft_jax.tasks.screens import COLOURS, ICONS, UNIT, Element, draw_screen, pixels
from rrft_jax.tasks.streams import stream

NAME = "ui_grounding"
REFUSED = 0.1  # share of instructions that no element fits
LABELS = {
    "in": (("OK", "Send", "Save", "Next", "Back", "Help"), ("Name", "City", "Mail"), ("Tea", "Milk", "Rice", "Fish")),
    "out": (("Stop", "Play", "Edit", "Done", "Copy", "Exit"), ("Date", "Code", "Team"), ("Oil", "Salt", "Corn", "Egg")),
}
NO_ANSWER = "[-1,-1]"


def example(seed: int, index: int, split: str = "train", domain: str = "in", image_size: int = 112) -> Example:
    """One example, whatever was asked before. domain: "in", or "out" with other words on the screen."""
    if domain not in LABELS:
        raise ValueError(f"domain {domain!r} of screens is not one of {', '.join(LABELS)}")
    rng = stream(NAME, seed, index, split, domain)
    elements = layout(rng, domain)
    chosen = elements[int(rng.integers(len(elements)))]
    refused = rng.random() < REFUSED
    shown = [element for element in elements if element is not chosen] if refused else elements
    box = None if refused else pixels(chosen.box, image_size)
    size = [image_size, image_size]
    answer = NO_ANSWER if box is None else f"[{','.join(map(str, in_thousandths(box, size)))}]"
    return Example(
        id=f"screen-{domain}-{split}-{seed}-{index:06d}",
        task=NAME,
        problem=instruction(chosen),
        answer=answer,
        images=(draw_screen(shown, image_size),),
        metadata={
            "question_type": "icon" if chosen.kind == "icon" else "text", "index": index, "split": split,
            "domain": domain, "box": box, "size": size,
            "ui_type": "icon" if chosen.kind == "icon" else "text", "listing": listing(shown),
        },
    )  # fmt: skip


def instruction(element: Element) -> str:
    """What means this element and no other of its screen."""
    return {
        "button": f"press {element.label}", "field": f"fill in {element.label}", "item": f"choose {element.label}",
        "icon": f"tap the {element.colour} {element.label}",
    }[element.kind]  # fmt: skip


def listing(elements: list[Element]) -> str:
    """All elements from top to bottom."""
    said = (f"{e.colour} {e.label} icon" if e.kind == "icon" else f"{e.label} {e.kind}" for e in elements)
    return "Objects: " + ", ".join(said) + "."


def layout(rng: np.random.Generator, domain: str) -> list[Element]:
    """Three or four rows: icons, one or two buttons, a field, list items; no two elements alike."""
    buttons, fields, items = (list(rng.permutation(words)) for words in LABELS[domain])
    kinds = [*rng.permutation(["icons", "buttons", "field", "items"])][: int(rng.integers(3, 5))]
    icons = [(colour, shape) for colour in list(COLOURS)[:5] for shape in ICONS]
    order = iter(rng.permutation(len(icons)).tolist())
    elements: list[Element] = []
    heights = {"icons": 20, "buttons": 18, "field": 18, "items": 30}
    gap = (UNIT - sum(heights[kind] for kind in kinds)) / (len(kinds) + 1)
    top = 0.0
    for kind in kinds:
        top += gap
        y1, y2 = round(top), round(top) + heights[kind]
        top += heights[kind]
        if kind == "icons":
            count = int(rng.integers(2, 4))
            for number in range(count):
                x = round((number + 0.5) * UNIT / count) - 10 + int(rng.integers(-4, 5))
                colour, shape = icons[next(order)]
                elements.append(Element("icon", shape, (x, y1, x + 20, y2), colour))
        elif kind == "buttons":
            count = int(rng.integers(1, 3))
            for number in range(count):
                width = int(rng.integers(36, 48))
                x = round((number + 0.5) * UNIT / count) - width // 2
                colour = list(COLOURS)[int(rng.integers(len(COLOURS)))]
                elements.append(Element("button", buttons.pop(), (x, y1, x + width, y2), colour))
        elif kind == "field":
            x = int(rng.integers(4, 20))
            elements.append(Element("field", fields.pop(), (x, y1, UNIT - x, y2)))
        else:
            for number in range(2):
                row = (4, y1 + 15 * number, UNIT - 4, y1 + 15 * (number + 1))
                elements.append(Element("item", items.pop(), row))
    return elements
