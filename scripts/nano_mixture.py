"""What the bundled base is pre-trained on: batches of one task each, a pure function of their number.

Under the training prompt ("cot") every row thinks in tags and answers in tags, in one of the WAYS: mostly a guess on
the line of the tag, sometimes step-by-step work on lines of its own. The token behind "<think" decides which (">" or
">\\n"). Only the rows of `_ways` learn that token; the others teach how to reason without teaching whether to.
Judgements, what is said of each object, are learnt last and are few of a thought's tokens: some rows are about nothing
else. A share of the rows shows what the out-of-domain tests show, as a base has seen more than it is later trained on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from rrft_jax.data.example import Example
from rrft_jax.losses.terms import Targets
from rrft_jax.processing.buckets import Bucket, collate
from rrft_jax.processing.processor import Processor, encode_completion, encode_prompt
from rrft_jax.tasks.registry import get_task
from rrft_jax.tasks.scenes.shapes import COLOURS
from rrft_jax.tasks.scenes.things import Thing
from rrft_jax.tasks.structure_perception.generator import naming
from rrft_jax.tasks.texts import ans_target, cot_target, listing_target
from rrft_jax.tasks.visual_counting.questions import EVERYTHING, CountingQuestion, Phrase, answer
from rrft_jax.tasks.visual_counting.reasoning import chain_of_thought
from rrft_jax.tasks.visual_counting.scene import DOMAINS
from rrft_jax.training.step import Batch

SEED = 20251120
BATCH, MICRO_BATCHES, COMPLETION_LENGTH, PATCHES = 32, 2, 120, 64
SHARED = 2  # rows in turn that are about one example where their modes want the same domain: drawing costs time
DECIDES = 1  # place of the token of a completion that says in which way it thinks
WAYS = {"guess": 0.85, "reason": 0.12, "look": 0.03}  # shares under the training prompt
# What a completion of each way begins with. The tag's own newline opens the step-by-step work of `cot_target`.
BEGINNINGS = {"guess": "<think> Total: ", "reason": "<think>\n", "look": "<think> The picture: "}


def guess_target(example: Example) -> str:
    """A glance: the total, and the answer. Of functions the total is their number."""
    said = ans_target(example)
    return f"{BEGINNINGS['guess']}{_total(example, said)}.\n</think>\n<answer>\n{said}\n</answer>"


def look_target(example: Example) -> str:
    """All that is seen, and then a guess all the same: no rule is followed."""
    said = ans_target(example)
    seen = f"{BEGINNINGS['look']}{listing_target(example)} Total: {_total(example, said)}."
    return f"{seen}\n</think>\n<answer>\n{said}\n</answer>"


TARGETS: Mapping[str, Callable[[Example], str]] = {
    "listing": listing_target, "direct": ans_target, "reason": cot_target, "guess": guess_target, "look": look_target,
}  # fmt: skip


@dataclass(frozen=True)
class Mode:
    """share of the rows; prompt, a paradigm or "listing"; target; which of its tokens are in the loss: "all", "rest"
    (all but the one that DECIDES), "judged" (what is said of each object, and the answer) or "worked" (what follows
    the first sentence); domain: "in", or "out" for each of the others of the task."""

    share: float
    prompt: str
    target: str
    tokens: str = "all"
    domain: str = "in"


def _both(prompt: str, target: str, tokens: str, inside: float, outside: float) -> tuple[Mode, Mode]:
    return Mode(inside, prompt, target, tokens), Mode(outside, prompt, target, tokens, "out")


def _ways(inside: float, outside: float) -> tuple[Mode, ...]:
    return tuple(m for way, p in WAYS.items() for m in _both("cot", way, "all", p * inside, p * outside))


# Batches of text alone, which cost little, so that they hold more rows: which choice a result is (structure), and what
# is said of objects that the thought names (counting). Both are rules of which questions about pictures show too few
# cases: of eight colours or five vehicles the one that an object has is seldom the one that is asked for.
CHOOSING, JUDGING, TEXT_BATCH = "choices", "judgements", 64
# Which attributes a phrase of a judging row names (size, colour, material, shape: s, c, m, h), and how often.
NAMED = {"c": 0.22, "h": 0.26, "ch": 0.14, "mh": 0.10, "sh": 0.10, "cm": 0.06, "sc": 0.06, "s": 0.03, "m": 0.03}
QUESTIONS = ("Find angle x.", "Find the area.", "Find the perimeter.", "Solve for k.", "What is the value of y?")
# Task -> share of the batches, modes; of two shares the first is in-domain.
MIXTURES = {
    "visual_counting": (0.38, (
        *_both("listing", "listing", "all", 0.04, 0.07), *_both("ans", "direct", "all", 0.03, 0.02),
        *_ways(0.18, 0.07), *_both("cot", "reason", "rest", 0.16, 0.20),
        *_both("cot", "reason", "judged", 0.10, 0.13),
    )),
    "structure_perception": (0.16, (
        *_both("listing", "listing", "all", 0.05, 0.08), *_both("ans", "direct", "all", 0.04, 0.02),
        *_ways(0.16, 0.06), *_both("cot", "reason", "rest", 0.26, 0.12),
        *_both("cot", "reason", "judged", 0.16, 0.05),
    )),
    "spatial_transformation": (0.18, (
        *_both("listing", "listing", "all", 0.04, 0.07), *_both("ans", "direct", "all", 0.03, 0.02),
        *_ways(0.16, 0.05), *_both("cot", "reason", "rest", 0.22, 0.12),
        *_both("cot", "reason", "judged", 0.21, 0.08),
    )),
    CHOOSING: (0.03, (Mode(1.0, "cot", "reason", "worked"),)),
    JUDGING: (0.25, (Mode(1.0, "cot", "reason", "judged"),)),
}  # fmt: skip
PROMPT_LENGTHS = (88, 120, 128, 160, 192)  # a batch takes the first that holds it
ZERO_SHOT = 0.04  # share of the batches whose rows all have the zero-shot prompt, a long one


def make_batch(processor: Processor, step: int, only: str = "") -> tuple[str, Batch]:
    """The task and batch of a step: a pure function of (SEED, step). only: the name of a mixture that all are of."""
    rng = np.random.default_rng([SEED, step])
    name = only or str(rng.choice(list(MIXTURES), p=[share for share, _ in MIXTURES.values()]))
    modes, B = MIXTURES[name][1], BATCH if shows(name) else TEXT_BATCH
    if shows(name) and rng.random() < ZERO_SHOT:
        modes = _both("zero_shot", "direct", "all", 0.8, 0.2)
    encoded, tokens = [], np.full((B, 1, COMPLETION_LENGTH), processor.pad_token_id, np.int32)
    token_mask, loss_mask = np.zeros((2, B, 1, COMPLETION_LENGTH), bool)
    for row, mode in enumerate(rng.choice(len(modes), B, p=[m.share for m in modes])):
        prompt, text, images = make_row(name, modes[mode], step * B + row)
        encoded.append(encode_prompt(processor, prompt, images))
        target = encode_completion(processor, text)
        tokens[row, 0, : len(target)] = target
        token_mask[row, 0, : len(target)] = True
        loss_mask[row, 0, : len(target)] = loss_tokens(processor, name, modes[mode], text, len(target))
    images = max(len(e.patches) for e in encoded)
    longest = max(len(e.tokens) for e in encoded)
    bucket = Bucket(next(p for p in PROMPT_LENGTHS if p >= longest), images, PATCHES if images else 0)
    prompts = collate(encoded, np.arange(B) + step * B, bucket, processor.pad_token_id)
    return name, Batch(prompts, tokens, token_mask, Targets(loss_mask, np.ones((B, 1), np.float32)))


def shows(name: str) -> bool:
    """Whether the rows of a mixture have pictures."""
    return name not in (CHOOSING, JUDGING)


def make_row(name: str, mode: Mode, index: int) -> tuple[str, str, tuple]:
    """Prompt, completion and pictures of a row of a mixture in a mode. index: the row's place among all rows of the
    training."""
    if not shows(name):
        return *{CHOOSING: choosing_row, JUDGING: judging_row}[name](index), ()
    task = get_task(name)
    example = _example(name, index // SHARED, mode.domain)
    prompt = task.prompt_fn(task.pretraining.listing if mode.prompt == "listing" else mode.prompt)(example)
    return prompt, TARGETS[mode.target](example), example.images


def choosing_row(number: int) -> tuple[str, str]:
    """Prompt and completion of one of structure's questions with choices: a result, and which choice it is."""
    rng = np.random.default_rng([SEED, number, 1])
    spread = float(rng.choice([1, 2, 2.5, 3, 4, 5, 5, 10, 10]))
    first = spread * int(rng.integers(1, 1 + int(150 // spread)))
    values, right = [first + i * spread for i in range(4)], int(rng.integers(4))
    listed = ", ".join(f"{letter}: {value:g}" for letter, value in zip("ABCD", values, strict=True))
    problem = f"{rng.choice(QUESTIONS)} Choices: {listed}."
    asked = Example(id="", task="", problem=problem, answer="ABCD"[right], images=())
    taken = int(rng.integers(1, 180))
    work = f"{values[right] + taken:g} - {taken} = {values[right]:g}."
    cot = f"{work} {naming([f'{value:g}' for value in values], asked.answer)}"
    return get_task("structure_perception").prompt_fn("cot")(asked), cot_target(replace(asked, cot=cot))


def judging_row(number: int) -> tuple[str, str]:
    """Prompt and completion of a counting question about three to five objects without a picture. Many of them have
    what a phrase of the question names."""
    rng = np.random.default_rng([SEED, number, 2])
    shapes = DOMAINS["in" if rng.random() < 0.4 else "out"].shapes
    values = dict(zip("scmh", (("small", "large"), tuple(COLOURS), ("rubber", "metal"), shapes), strict=True))

    def phrase() -> Phrase:
        named = rng.choice(list(NAMED), p=list(NAMED.values()))
        return Phrase(tuple(str(rng.choice(each)) if key in named else None for key, each in values.items()))

    removed = tuple(phrase() for _ in range(rng.choice(3, p=(0.15, 0.5, 0.35))))
    asked = EVERYTHING if removed and rng.random() < 0.6 else phrase()
    question = CountingQuestion(("count", "subtraction", "multihop")[len(removed)], removed, 0, EVERYTHING, asked)
    things = []
    for _ in range(rng.integers(3, 6)):
        like = rng.choice([*removed, asked, EVERYTHING]).values
        drawn = (str(rng.choice(each)) for each in values.values())
        has = [named if named and rng.random() < 0.85 else own for named, own in zip(like, drawn, strict=True)]
        things.append(Thing(*has, x=0.0, y=0.0, angle=0.0, radius=1.0))
    example = Example(
        id="", task="", problem=question.text(), answer=str(answer(things, question)), images=(),
        cot=chain_of_thought(tuple(things), question),
    )  # fmt: skip
    return get_task("visual_counting").prompt_fn("cot")(example), cot_target(example)


@lru_cache(maxsize=4 * BATCH)
def _example(name: str, number: int, domain: str) -> Example:
    task = get_task(name)
    others = [other for other, _ in task.held_out.values() if other != "in"]
    return task.make(SEED, number, "base", "in" if domain == "in" else others[number % len(others)])


def loss_tokens(processor: Processor, name: str, mode: Mode, text: str, length: int) -> np.ndarray:
    """bool[length]: the tokens of a completion of a mixture that are in the loss."""
    chosen = np.ones(length, bool)
    if mode.tokens == "rest":
        chosen[DECIDES] = False
    elif mode.tokens != "all":
        if mode.tokens == "judged":
            task = get_task("visual_counting" if name == JUDGING else name)
            judged = task.pretraining.judged(text[: text.index("</think>")])
            spans = [*judged, (text.index("<answer>"), len(text))]
        else:
            spans = [(text.index(". ") + 1, len(text))]
        offsets = processor.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        chosen[:] = False
        for number, (start, end) in enumerate(offsets):
            chosen[number] = any(start < high and low < end for low, high in spans)
    return chosen


def way(text: str) -> str:
    """In which of the WAYS a completion thinks; "" for none of them."""
    return next((name for name, beginning in BEGINNINGS.items() if text.startswith(beginning)), "")


def _total(example: Example, said: str) -> str:
    return str(example.metadata.get("num_functions", said))
