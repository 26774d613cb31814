"""One object in a picture and its name. Indices go through the classes in turn, so the first K times 24 examples are a
K-shot set: config.data.range = (0, 24 * K)."""

from rrft_jax.data.example import Example
from rrft_jax.tasks.scenes.render import render
from rrft_jax.tasks.scenes.shapes import COLOURS, SHAPES, VEHICLES
from rrft_jax.tasks.scenes.things import Thing
from rrft_jax.tasks.streams import stream
from rrft_jax.tasks.visual_counting.scene import DOMAINS, MATERIALS

NAME = "classification"
REACH = 3.0  # how far from the middle an object stands, in scene units
QUESTIONS = {"in": "Which colour and solid is it?", "out": "Which colour and vehicle is it?"}


def classes(domain: str) -> tuple[str, ...]:
    """The names of a domain: 24 of solids, 40 of vehicles."""
    shapes = {"in": SHAPES, "out": VEHICLES}
    if domain not in shapes:
        raise ValueError(f"domain {domain!r} of classification is not one of {', '.join(shapes)}")
    return tuple(f"{colour} {shape}" for shape in shapes[domain] for colour in COLOURS)


def example(seed: int, index: int, split: str = "train", domain: str = "in", image_size: int = 112) -> Example:
    """One example, whatever was asked before: class number `index` in turn, in a random place, size and material."""
    names = classes(domain)
    name = names[index % len(names)]
    colour, shape = name.split()
    rng, where = stream(NAME, seed, index, split, domain), DOMAINS[domain]
    size, material = ("small", "large")[int(rng.integers(2))], MATERIALS[int(rng.integers(2))]
    x, y = (float(v) for v in rng.uniform(-REACH, REACH, 2))
    radius = where.radii[1] * float(rng.uniform(0.8, 1.6))
    thing = Thing(size, colour, material, shape, x, y, float(rng.uniform(*where.turns)), radius)
    return Example(
        id=f"{NAME}-{domain}-{split}-{seed}-{index:06d}",
        task=NAME,
        problem=QUESTIONS[domain],
        answer=name,
        images=(render((thing,), where.view, image_size, image_size),),
        cot=f"It is {colour}, and a {shape}.",
        metadata={
            "question_type": shape, "index": index, "split": split, "domain": domain,
            "listing": f"Objects: {name}.",
        },
    )  # fmt: skip
