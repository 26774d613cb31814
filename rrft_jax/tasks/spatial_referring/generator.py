"""Pointing by reasoning in a rendered scene, as a function of (seed, index, split, domain)."""

import math

from rrft_jax.answers.perceptions import write_perception
from rrft_jax.data.example import Example
from rrft_jax.tasks.localised import in_shares
from rrft_jax.tasks.scenes.extent import outline, spans
from rrft_jax.tasks.scenes.render import render
from rrft_jax.tasks.scenes.things import listing, place
from rrft_jax.tasks.spatial_referring.chains import draw_chain, question, short_name
from rrft_jax.tasks.streams import stream
from rrft_jax.tasks.visual_counting.scene import DOMAINS, sample_scene

NAME = "spatial_referring"
MOST = 5  # steps of reasoning
METRES = 0.1  # of a scene unit
TRIES = 30  # scenes before a shorter chain is taken


def example(seed: int, index: int, split: str = "train", domain: str = "in", image_size: int = 112) -> Example:
    """One example, whatever was asked before: 1 to 5 steps, each with the position of its object; the first also with
    its size, and of a vehicle (domain "out") the direction in which it heads."""
    if domain not in DOMAINS:
        raise ValueError(f"domain {domain!r} of referring is not one of {', '.join(DOMAINS)}")
    rng, where = stream(NAME, seed, index, split, domain), DOMAINS[domain]
    length, tries = int(rng.integers(1, MOST + 1)), 0
    while True:
        scene = sample_scene(rng, where)
        tries += 1
        length -= tries % TRIES == 0 and length > 1
        found = {id(thing): short_name(thing, scene.things) for thing in scene.things}
        names = {key: name for key, name in found.items() if name is not None}  # a thing with a double has none
        chain = draw_chain(rng, scene.things, where.view.camera, length) if len(names) == len(found) else None
        if chain is not None:
            break
    size, said = (image_size, image_size), [names[id(thing)] for thing in chain.things]
    points = [tuple((place(thing, where.view) * size).tolist()) for thing in chain.things]
    anchor = chain.things[0]
    steps: list[tuple[str, str, tuple[float, ...]]] = [
        ("position", name, in_shares(point, size)) for name, point in zip(said, points, strict=True)
    ]
    steps.insert(1, ("size", said[0], (round(2 * anchor.radius * METRES, 2),)))
    if domain == "out":
        heading = (round(math.cos(anchor.angle), 2), round(math.sin(anchor.angle), 2), 0.0)
        steps.insert(2, ("orientation", said[0], heading))
    target = chain.things[-1]
    x, y = in_shares(points[-1], size)
    return Example(
        id=f"referring-{domain}-{split}-{seed}-{index:06d}",
        task=NAME,
        problem=question(chain, said),
        answer=f"[({x:.3f}, {y:.3f})]",
        images=(render(scene.things, where.view, *size),),
        cot="\n".join(write_perception(*step) for step in steps),
        metadata={
            "question_type": f"{length} step{'s'[: length > 1]}", "index": index, "split": split, "domain": domain,
            "size": list(size), "point": list(points[-1]), "step": length,
            "key_steps": [[kind.capitalize(), name, list(value)] for kind, name, value in steps],
            "mask": spans(outline(target, where.view.camera, *size)), "listing": listing(scene.things),
        },
    )  # fmt: skip
