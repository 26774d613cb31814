"""Pairs of counting scenes that differ in one object, so that their answers differ: what only a reader of the picture
answers both ways."""

from dataclasses import replace

from rrft_jax.tasks.scenes.shapes import COLOURS
from rrft_jax.tasks.streams import stream
from rrft_jax.tasks.visual_counting.generator import NAME, example_of
from rrft_jax.tasks.visual_counting.questions import answer, sample_question
from rrft_jax.tasks.visual_counting.scene import DOMAINS, MATERIALS, sample_scene


def flip_pair(seed, index, domain="in", size=112):
    """Two Examples with one question whose scenes differ in the colour, material or shape of one object, and whose
    answers differ. Size stays, so that the changed object fits where the old one stood."""
    rng = stream(NAME, seed, index, "flip/pair", domain)
    while True:
        scene = sample_scene(rng, DOMAINS[domain])
        question = sample_question(rng, scene.things)
        if question is None:
            continue
        other = _change_one(rng, scene)
        if answer(scene.things, question) != answer(other.things, question):
            stem = f"counting-{domain}-flip-{seed}-{index:06d}"
            return tuple(
                example_of(made, question, f"{stem}-{end}", index, "flip", size)
                for made, end in ((scene, "a"), (other, "b"))
            )


def _change_one(rng, scene):
    where = int(rng.integers(len(scene.things)))
    old = scene.things[where]
    fields = (("colour", tuple(COLOURS)), ("material", MATERIALS), ("shape", scene.domain.shapes))
    field, values = fields[int(rng.integers(3))]
    others = [value for value in values if value != getattr(old, field)]
    new = replace(old, **{field: others[int(rng.integers(len(others)))]})
    return replace(scene, things=(*scene.things[:where], new, *scene.things[where + 1 :]))
