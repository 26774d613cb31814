"""Exact counting questions from a Super-CLEVR scene, in the wording of CLEVR-Math, with the reasoning as text.

A scene lists the vehicles in its picture with size, color, material and shape, so answers are exact:
    count      How many red trucks are there?
    subtract   Subtract all metal objects. Subtract all buses. How many objects are left?
"""

import random

# Super-CLEVR's hierarchy of shapes (Li et al. 2023), under the names that its own questions use.
FAMILIES = {
    "car": {"suv": "SUV", "wagon": "wagon", "minivan": "minivan", "sedan": "sedan", "truck": "truck",
            "addi": "regular car"},
    "bus": {"articulated": "articulated bus", "regular": "regular bus", "double": "double bus", "school": "school bus"},
    "motorbike": {"chopper": "chopper", "dirtbike": "dirtbike", "scooter": "scooter", "cruiser": "cruiser"},
    "aeroplane": {"jet": "jet", "fighter": "fighter", "biplane": "biplane", "airliner": "airliner"},
    "bicycle": {"road": "road bike", "utility": "utility bike", "mountain": "mountain bike", "tandem": "tandem bike"},
}  # fmt: skip
ADJECTIVES = ("size", "color", "material")  # in the order English puts them


def vehicles(scene: dict) -> list[dict]:
    """The objects of a scene as {size, color, material, noun, family}; an unknown shape raises with its name."""
    nouns = {shape: (noun, family) for family, shapes in FAMILIES.items() for shape, noun in shapes.items()}
    found = []
    for thing in scene["objects"]:
        if thing["shape"] not in nouns:
            raise ValueError(f"{scene['image_filename']}: unknown shape {thing['shape']!r}; add it to FAMILIES")
        noun, family = nouns[thing["shape"]]
        found.append({key: thing[key] for key in ADJECTIVES} | {"noun": noun, "family": family})
    return found


def plural(noun: str) -> str:
    return noun + ("es" if noun.endswith("s") else "s")


def phrase(group: dict) -> str:
    """A group of objects in words: {"color": "red", "noun": "truck"} is "red trucks", {} is "objects"."""
    noun = group.get("noun") or group.get("family") or "object"
    return " ".join([group[key] for key in ADJECTIVES if key in group] + [plural(noun)])


def members(things: list[dict], group: dict) -> list[int]:
    """Positions of the objects that belong to a group: those equal to it in everything it names."""
    return [i for i, thing in enumerate(things) if all(thing[key] == value for key, value in group.items())]


def random_group(things: list[dict], rng: random.Random) -> dict:
    """A group that one or two properties describe, each taken from a random object: so it may also be empty."""
    names = rng.choice(["size", "color", "material", "noun", "family", "adjective noun", "adjective family", "two"])
    adjectives = rng.sample(ADJECTIVES, 2)
    keys = adjectives if names == "two" else [adjectives[0] if n == "adjective" else n for n in names.split()]
    return {key: rng.choice(things)[key] for key in keys}


def count_question(things: list[dict], groups: list[dict]) -> tuple[str, int, str]:
    """Question, answer and reasoning for the size of one group."""
    hits = members(things, groups[0])
    name = phrase(groups[0])
    reasoning = f"{listing(things)}\n{name}: {numbers(hits)}, so {len(hits)}."
    return f"How many {name} are there?", len(hits), reasoning


def subtract_question(things: list[dict], groups: list[dict]) -> tuple[str, int, str]:
    """Question, answer and reasoning for what is left after taking groups away one after the other."""
    left = list(range(len(things)))
    lines = [listing(things)]
    for group in groups:
        gone = [i for i in members(things, group) if i in left]
        left = [i for i in left if i not in gone]
        lines.append(f"Without {phrase(group)} ({numbers(gone)}): {numbers(left)}, so {len(left)}.")
    commands = " ".join(f"Subtract all {phrase(group)}." for group in groups)
    return f"{commands} How many objects are left?", len(left), "\n".join(lines)


def listing(things: list[dict]) -> str:
    named = [f"{i + 1}. {' '.join(t[k] for k in ADJECTIVES)} {t['noun']}" for i, t in enumerate(things)]
    return "Objects: " + "; ".join(named) + "."


def numbers(positions: list[int]) -> str:
    return ", ".join(str(i + 1) for i in positions) or "none"


def questions(scene: dict, per_scene: int, seed: int) -> list[dict]:
    """`per_scene` different questions on one scene; counting and one- and two-step subtraction take turns."""
    things = vehicles(scene)
    rng = random.Random(f"{seed} {scene['image_filename']}")
    records, asked = [], set()
    for attempt in range(100 * per_scene):
        kind = ("count", "subtract", "count", "subtract two")[len(records) % 4]
        groups = [random_group(things, rng) for _ in range(2 if kind == "subtract two" else 1)]
        if attempt == 0:
            groups = [{}]  # every scene is asked for its number of objects
        # An empty group makes an easy question: no subtraction of one, and only some counts.
        empty = [g for g in groups if not members(things, g)]
        if empty and (kind != "count" or rng.random() < 0.75):
            continue
        if len(groups) == 2 and groups[0] == groups[1]:
            continue
        make = count_question if kind == "count" else subtract_question
        problem, answer, cot = make(things, groups)
        if problem in asked:
            continue
        asked.add(problem)
        records.append({"problem": problem, "answer": str(answer), "cot": cot, "question_type": kind})
        if len(records) == per_scene:
            break
    return records
