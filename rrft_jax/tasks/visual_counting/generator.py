"""Counting examples as a function of (seed, index, split, domain)."""

from rrft_jax.data.example import Example
from rrft_jax.tasks.scenes.render import render
from rrft_jax.tasks.scenes.things import listing
from rrft_jax.tasks.streams import stream
from rrft_jax.tasks.visual_counting.questions import CountingQuestion, answer, sample_question
from rrft_jax.tasks.visual_counting.reasoning import chain_of_thought
from rrft_jax.tasks.visual_counting.scene import DOMAINS, Domain, Scene, sample_scene

NAME = "visual_counting"


def example(
    seed: int, index: int, split: str = "train", domain: str = "in", image_size: int = 112, kind: str | None = None
) -> Example:
    """One example, whatever was asked before: a function of its arguments.

    split: any name; different names draw from disjoint random streams. domain: "in" or "out". image_size: pixels a
    side. kind: a question type, or None to draw one. The picture is uint8[image_size, image_size, 3].
    """
    scene, question = scene_and_question(seed, index, split, domain, kind)
    return example_of(scene, question, f"counting-{domain}-{split}-{seed}-{index:06d}", index, split, image_size)


def scene_and_question(
    seed: int, index: int, split: str = "train", domain: str = "in", kind: str | None = None
) -> tuple[Scene, CountingQuestion]:
    """What `example` draws before rendering, for tests and tools."""
    where = _domain(domain)
    rng = stream(NAME, seed, index, split, domain)
    while True:  # a scene of three equal objects, say, allows no adversarial question: draw another
        scene = sample_scene(rng, where)
        question = sample_question(rng, scene.things, kind)
        if question is not None:
            return scene, question


def _domain(name: str) -> Domain:
    if name not in DOMAINS:
        raise ValueError(f"domain {name!r} of the counting task is not one of {', '.join(DOMAINS)}")
    return DOMAINS[name]


def example_of(scene: Scene, question: CountingQuestion, name: str, index: int, split: str, image_size: int) -> Example:
    """A scene and a question of it as an Example called `name`. index, split: for its metadata."""
    return Example(
        id=name,
        task=NAME,
        problem=question.text(),
        answer=str(answer(scene.things, question)),
        images=(render(scene.things, scene.domain.view, image_size, image_size),),
        cot=chain_of_thought(scene.things, question),
        metadata={
            "question_type": question.kind,
            "index": index,
            "split": split,
            "domain": scene.domain.name,
            "num_objects": len(scene.things),
            "listing": listing(scene.things),
        },
    )
