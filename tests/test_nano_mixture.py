"""scripts/nano_mixture.py: what the bundled base is pre-trained on keeps the format, and says its way in one token."""

import importlib.util
import re
import sys
from itertools import count
from pathlib import Path

import jax
import pytest

from rrft_jax.answers.tags import reference_answer
from rrft_jax.processing.processor import encode_completion, load_processor
from rrft_jax.rewards import get
from rrft_jax.rewards.format import is_strict
from rrft_jax.tasks.registry import get_task

SCRIPTS = Path(__file__).parents[1] / "scripts"


def script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def mixture():
    return script("nano_mixture")


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
            told = ids[mixture.loss_tokens(nano, mixture.CHOOSING, mode, text, len(ids))]
            result, letter = text.partition(". ")[0].split(" = ")[1], text[text.index("<answer>") + 9]
            assert re.search(rf"\b{letter}: {re.escape(result)}[,.] ", prompt)
            assert nano.tokenizer.decode(told).strip().removesuffix("<|im_end|>") == text.partition(". ")[2]


def test_batches_of_judgements_teach_no_object_that_nobody_can_see(mixture, nano):
    for mode in mixture.MIXTURES[mixture.JUDGING][1]:
        for row in range(20):
            prompt, text, images = mixture.make_row(mixture.JUDGING, mode, row)
            ids = encode_completion(nano, text)
            told = nano.tokenizer.decode(ids[mixture.loss_tokens(nano, mixture.JUDGING, mode, text, len(ids))])
            assert images == () and re.search(r"Total: (\d+)", text)[1] == text[text.index("<answer>") :].split()[1]
            assert re.findall("small|large|metal|rubber|Objects|think", told) == [] and "</answer>" in told


@pytest.mark.parametrize("name", ["CHOOSING", "JUDGING"])
def test_batches_of_text_alone_have_no_patches(mixture, nano, name):
    made = (mixture.make_batch(nano, step) for step in count())
    batch = next(batch for drawn, batch in made if drawn == getattr(mixture, name))
    assert batch.tokens.shape[0] == mixture.TEXT_BATCH and batch.prompts.patches.shape[1] == 0


def test_a_step_of_the_tower_can_be_traced(nano, monkeypatch):
    """It is run only when a base is made: nothing else would show that the model's own functions have moved on."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setitem(sys.modules, "nano_sizes", script("nano_sizes"))
    tower = script("pretrain_nano_tower")
    model = tower.make_model(tower.nano_config(nano))
    optimizer, _ = tower.make_pretraining_optimizer(1e-3, 10)
    patches, labels = tower.make_batch(nano, 0)

    def state():
        head = jax.numpy.zeros((model.config.hidden_size, int(tower.ENDS[-1])))
        params = {"vision": model.init_params(jax.random.key(0))["vision"], "head": head}
        return {"params": params, "opt_state": optimizer.init(params)}

    new, losses = jax.eval_shape(tower.make_step(model, optimizer), jax.eval_shape(state), patches, labels)
    assert losses.shape == (len(tower.HEADS),) and labels.shape == (tower.BATCH, 16, len(tower.HEADS))
    assert jax.tree.structure(new) == jax.tree.structure(jax.eval_shape(state))
