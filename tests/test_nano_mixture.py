"""scripts/nano_mixture.py: what the bundled base is pre-trained on keeps the format, and says its way in one token."""

import importlib.util
from pathlib import Path

import pytest

from rrft_jax.answers.tags import reference_answer
from rrft_jax.processing.processor import encode_completion, load_processor
from rrft_jax.rewards import get
from rrft_jax.rewards.format import is_strict
from rrft_jax.tasks.registry import get_task

SCRIPT = Path(__file__).parents[1] / "scripts" / "nano_mixture.py"


@pytest.fixture(scope="module")
def mixture():
    spec = importlib.util.spec_from_file_location("nano_mixture", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def nano():
    return load_processor("rrft_jax/assets/nano")


@pytest.mark.parametrize("name", ["visual_counting", "structure_perception", "spatial_transformation"])
def test_every_way_keeps_the_format_and_begins_alike_up_to_one_token(mixture, nano, name):
    task, modes = get_task(name), mixture.MIXTURES[name][1]
    others = [domain for domain, _ in task.held_out.values() if domain != "in"]
    assert sum(mode.share for mode in modes) == pytest.approx(1.0)
    started = {}
    for mode in (m for m in modes if m.prompt == "cot"):
        prompt, text, images = mixture.make_row(name, mode, 5 * mixture.SHARED)
        example = task.make(mixture.SEED, 5, "base", "in" if mode.domain == "in" else others[5 % len(others)])
        assert prompt == task.prompt_fn("cot")(example) and len(images) == len(example.images)
        assert is_strict(text) and mixture.way(text) == mode.target
        assert get(task.metric)([text], [example], [0], 0) == [1.0]
        ids = encode_completion(nano, text)
        started.setdefault(mode.target, set()).add(tuple(ids[: mixture.DECIDES + 1].tolist()))
        told = mixture.loss_tokens(nano, name, mode, text, len(ids))
        assert told.sum() == {"all": len(ids), "rest": len(ids) - 1}.get(mode.tokens, told.sum())
        assert mode.tokens == "all" or not told[mixture.DECIDES]
        if mode.tokens == "judged":  # the answer is among them, and not all are
            assert reference_answer(example.answer) in nano.tokenizer.decode(ids[told]) and told.sum() < len(ids) - 2
    (reason,), (guess,), (look,) = (started[way] for way in ("reason", "guess", "look"))
    assert reason[: mixture.DECIDES] == guess[: mixture.DECIDES] and reason != guess == look


def test_batches_about_choices_show_no_picture_and_teach_what_follows_from_what_was_read(mixture, nano):
    for mode in mixture.MIXTURES[mixture.CHOOSING][1]:
        for row in range(20):
            prompt, text, images = mixture.make_row(mixture.CHOOSING, mode, row)
            assert images == () and "Choices: A: " in prompt
            ids = encode_completion(nano, text)
            told = nano.tokenizer.decode(ids[mixture.loss_tokens(nano, mixture.CHOOSING, mode, text, len(ids))])
            assert text.endswith(told.removesuffix("<|im_end|>")) and text.partition(". ")[2] == told.strip().removesuffix("<|im_end|>")
    name, batch = next(made for made in map(lambda step: mixture.make_batch(nano, step), range(40)) if made[0] == mixture.CHOOSING)
    assert batch.tokens.shape[0] == mixture.CHOOSING_BATCH and batch.prompts.patches.shape[1] == 0
