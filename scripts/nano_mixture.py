"""The pre-training mixture of the bundled base: batches of one task each, a pure function of their number.

Under the training prompt ("cot") the first token decides between reasoning and answering. It is learnt from 4 direct
rows to 1 reasoning row, so the base mostly answers directly; the other rows teach how to reason without teaching
whether to. The model learns the judgements of each object last, and they are few of a thought's tokens: the loss of
some rows covers nothing else.
"""

from dataclasses import dataclass

import numpy as np

from rrft_jax.losses.terms import Targets
from rrft_jax.processing.buckets import Bucket, collate
from rrft_jax.processing.processor import Processor, encode_completion, encode_prompt
from rrft_jax.tasks.registry import get_task
from rrft_jax.tasks.task import Task
from rrft_jax.tasks.texts import ans_target, cot_target, listing_target
from rrft_jax.training.step import Batch

SEED = 20251120
BATCH, MICRO_BATCHES, COMPLETION_LENGTH, PATCHES = 32, 2, 112, 64
TARGETS = {"listing": listing_target, "direct": ans_target, "reason": cot_target}


@dataclass(frozen=True)
class Mode:
    """share of the rows; prompt, a paradigm or "listing"; target; which of its tokens are in the loss: "all", "rest"
    (all but the first, which says whether to reason) or "judged" (what is said of each object, and the answer)."""

    share: float
    prompt: str
    target: str
    tokens: str = "all"


# Task -> share of the batches, modes.
_SEEING = (Mode(0.08, "listing", "listing"), Mode(0.06, "ans", "direct"))
_WHETHER = (Mode(0.16, "cot", "direct"), Mode(0.04, "cot", "reason"))
_MODES = (*_SEEING, *_WHETHER, Mode(0.31, "cot", "reason", "rest"), Mode(0.35, "cot", "reason", "judged"))
MIXTURES = {
    "visual_counting": (0.2, _MODES),
    "structure_perception": (0.25, (*_SEEING, *_WHETHER, Mode(0.66, "cot", "reason", "rest"))),
    "spatial_transformation": (0.55, _MODES),
}
PROMPT_LENGTHS = (88, 120, 128, 160)  # a batch takes the first that holds it
ZERO_SHOT = 0.04  # share of the batches whose rows all have the zero-shot prompt, a long one


def make_batch(processor: Processor, step: int) -> tuple[str, Batch]:
    """The task and batch of a step: a pure function of (SEED, step)."""
    rng = np.random.default_rng([SEED, step])
    name = str(rng.choice(list(MIXTURES), p=[share for share, _ in MIXTURES.values()]))
    task, modes = get_task(name), MIXTURES[name][1]
    if rng.random() < ZERO_SHOT:
        modes = (Mode(1.0, "zero_shot", "direct"),)
    encoded, tokens = [], np.full((BATCH, 1, COMPLETION_LENGTH), processor.pad_token_id, np.int32)
    token_mask, loss_mask = np.zeros((2, BATCH, 1, COMPLETION_LENGTH), bool)
    for row, mode in enumerate(rng.choice(len(modes), BATCH, p=[m.share for m in modes])):
        mode = modes[mode]
        example = task.make(SEED, step * BATCH + row, "pretrain", "in")
        prompt = task.pretraining.listing if mode.prompt == "listing" else mode.prompt
        encoded.append(encode_prompt(processor, task.prompt_fn(prompt)(example), example.images))
        text = TARGETS[mode.target](example)
        target = encode_completion(processor, text)
        tokens[row, 0, : len(target)] = target
        token_mask[row, 0, : len(target)] = loss_mask[row, 0, : len(target)] = True
        if mode.tokens == "rest":
            loss_mask[row, 0, 0] = False
        elif mode.tokens == "judged":
            loss_mask[row, 0, : len(target)] = judged_tokens(processor, task, text, len(target))
    images = max(len(e.patches) for e in encoded)
    longest = max(len(e.tokens) for e in encoded)
    bucket = Bucket(next(p for p in PROMPT_LENGTHS if p >= longest), images, PATCHES)
    prompts = collate(encoded, np.arange(BATCH) + step * BATCH, bucket, processor.pad_token_id)
    return name, Batch(prompts, tokens, token_mask, Targets(loss_mask, np.ones((BATCH, 1), np.float32)))


def judged_tokens(processor: Processor, task: Task, text: str, count: int) -> np.ndarray:
    """bool[count]: the tokens of `text` (and its end) that say a judgement or belong to the answer."""
    spans = [*task.pretraining.judged(text[: text.index("</think>")]), (text.index("<answer>"), len(text))]
    offsets = processor.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    chosen = np.zeros(count, bool)
    for number, (start, end) in enumerate(offsets):
        chosen[number] = any(start < high and low < end for low, high in spans)
    return chosen
