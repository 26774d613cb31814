"""Short stories on rendered screens: a task, and for each step its screen, a thought and the action that is right.

Points and boxes are in units of a screen (`tasks.screens.UNIT`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from rrft_jax.answers.actions import Action
from rrft_jax.tasks.screens import COLOURS, ICONS, Element

WORDS = {
    "in": (("OK", "Send", "Save", "Next"), ("Name", "City", "Mail"), ("Tea", "Milk", "Rice", "Fish", "Corn", "Egg")),
    "out": (("Done", "Copy", "Play", "Stop"), ("Date", "Code", "Team"), ("Oil", "Salt", "Bean", "Leek", "Plum", "Nut")),
}
TYPED = ("red", "blue", "cat", "dog", "sun")
APPS = ("Mail", "Maps", "Music", "Clock")
BACK, UP = (56.0, 88.0), (56.0, 28.0)  # a finger that scrolls down the page goes up


@dataclass(frozen=True)
class Step:
    """elements: the screen. box: the element that is clicked, if one is."""

    elements: tuple[Element, ...]
    thought: str
    action: Action
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Story:
    task: str
    steps: tuple[Step, ...]


def title(text: str) -> Element:
    return Element("title", text, (8, 4, 104, 18))


def click(element: Element, thought: str, elements: tuple[Element, ...], name: str = "Click") -> Step:
    return Step(elements, thought, Action(name, {"box": element.centre}), element.box)


def finished(text: str) -> Step:
    return Step((title(text),), "It is done.", Action("Finished", {"content": ""}))


def form(rng: np.random.Generator, words: tuple) -> Story:
    """Click a field, type, press a button or Enter."""
    (one, two), button, typed = _pick(rng, words[1], 2), _pick(rng, words[0], 1)[0], _pick(rng, TYPED, 1)[0]
    top, colour = int(rng.integers(16, 24)), list(COLOURS)[int(rng.integers(len(COLOURS)))]
    fields = [Element("field", label, (8, top + 24 * n, 104, top + 24 * n + 18)) for n, label in enumerate((one, two))]
    x = int(rng.integers(8, 60))
    save = Element("button", button, (x, top + 54, x + 44, top + 72), colour)
    chosen = int(rng.integers(2))
    label = fields[chosen].label
    marked, full = list(fields), list(fields)
    marked[chosen] = replace(fields[chosen], marked=True)
    full[chosen] = replace(fields[chosen], value=typed, marked=True)
    enter = rng.random() < 0.3
    last = (
        Step((*full, save), "Enter is next.", Action("PressEnter", {}))
        if enter
        else click(save, f"{button} is next.", (*full, save))
    )
    return Story(
        f"Put {typed} in {label}, then press {'Enter' if enter else button}.",
        (
            click(fields[chosen], f"{label} is empty.", (*fields, save)),
            Step((*marked, save), f"{label} is open.", Action("Type", {"content": typed})),
            last,
            finished("Saved"),
        ),
    )


def shopping(rng: np.random.Generator, words: tuple) -> Story:
    """Choose an item of a list, which may be further down."""
    labels = _pick(rng, words[2], 6)
    chosen = int(rng.integers(6))

    def page(first: int) -> tuple[Element, ...]:
        rows = [
            Element("item", label, (4, 22 + 20 * n, 108, 40 + 20 * n)) for n, label in enumerate(labels[first:][:4])
        ]
        return (title("List"), *rows)

    steps, first = [], 0
    if chosen >= 4:
        scroll = Action("Scroll", {"start": BACK, "end": UP, "direction": "up"})
        steps.append(Step(page(0), f"{labels[chosen]} is further down.", scroll))
        first = 2
    shown = page(first)
    item = next(element for element in shown if element.label == labels[chosen])
    steps += [click(item, f"{labels[chosen]} is there.", shown), finished(f"Chose {labels[chosen]}")]
    return Story(f"Choose {labels[chosen]}.", tuple(steps))


def icons(rng: np.random.Generator, words: tuple) -> Story:
    """Hold an icon, or drag it onto another."""
    pairs = [(colour, shape) for colour in list(COLOURS)[:5] for shape in ICONS]
    elements = []
    for n, place in enumerate(rng.permutation(len(pairs))[:3].tolist()):
        x, y = 8 + 36 * n + int(rng.integers(0, 8)), int(rng.integers(24, 80))
        elements.append(Element("icon", pairs[place][1], (x, y, x + 22, y + 22), pairs[place][0]))
    one, two = elements[0], elements[1]
    names = [f"{element.colour} {element.label}" for element in (one, two)]
    if rng.random() < 0.5:
        step = click(one, f"The {names[0]} is there.", tuple(elements), "LongPress")
        return Story(f"Hold the {names[0]}.", (step, finished("Held")))
    drag = Step(tuple(elements), "Both are there.", Action("Drag", {"start": one.centre, "end": two.centre}))
    return Story(f"Drag the {names[0]} onto the {names[1]}.", (drag, finished("Moved")))


def waiting(rng: np.random.Generator, words: tuple) -> Story:
    """A button that is not there yet."""
    label, x, y = _pick(rng, words[0], 1)[0], int(rng.integers(8, 60)), int(rng.integers(30, 80))
    button = Element("button", label, (x, y, x + 44, y + 18), list(COLOURS)[int(rng.integers(len(COLOURS)))])
    return Story(
        f"Press {label} when it is there.",
        (
            Step((title("Loading..."),), "It is loading.", Action("Wait", {})),
            click(button, f"{label} is there.", (button,)),
            finished("Pressed"),
        ),
    )


def keys(rng: np.random.Generator, words: tuple) -> Story:
    """One of the keys of a phone, an app, or a question to the user."""
    app, label = _pick(rng, APPS, 1)[0], _pick(rng, words[1], 1)[0]
    field = Element("field", label, (8, 40, 104, 58))
    page = (title("Page 2"), field)
    choices = (
        ("Go back.", page, "Back is asked for.", Action("PressBack", {})),
        ("Go to the home screen.", page, "Home is asked for.", Action("PressHome", {})),
        ("Show the recent apps.", page, "Recent is asked for.", Action("PressRecent", {})),
        (f"Start the app {app}.", (title("Home"),), f"{app} is closed.", Action("Launch", {"app": app, "url": ""})),
        (f"Ask the user for {label}.", page, f"{label} is empty.", Action("CallUser", {"content": label})),
    )
    task, elements, thought, action = choices[int(rng.integers(len(choices)))]
    return Story(task, (Step(elements, thought, action),))


STORIES: Mapping[str, tuple[float, Callable[[np.random.Generator, tuple], Story]]] = {
    "form": (0.35, form), "list": (0.25, shopping), "icons": (0.15, icons), "waiting": (0.1, waiting),
    "keys": (0.15, keys),
}  # fmt: skip


def draw_story(rng: np.random.Generator, domain: str) -> tuple[str, Story]:
    """(kind, story)."""
    kinds = list(STORIES)
    kind = kinds[int(rng.choice(len(kinds), p=[share for share, _ in STORIES.values()]))]
    return kind, STORIES[kind][1](rng, WORDS[domain])


def _pick(rng: np.random.Generator, words: tuple, count: int) -> list[str]:
    return [words[place] for place in rng.permutation(len(words))[:count].tolist()]
