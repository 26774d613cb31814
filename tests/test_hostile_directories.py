"""Every small file of a model or run directory with one thing changed: read, or refused in one line that names it."""

import random
import shutil

import pytest
from PIL import Image

from rrft_jax.config.defaults import base_config
from rrft_jax.pretrained import load_parts, resolve_init
from rrft_jax.processing.processor import encode_prompt
from rrft_jax.run.completions import CompletionsWriter, Group, read_completions
from rrft_jax.run.metrics import MetricsWriter, read_metrics
from rrft_jax.run.workdir import open_workdir, stored_config, trained_with
from tests.helpers.damage import damaged
from tests.timing import within

LONGEST = 10.0  # seconds of processor time; a mutant takes a tenth of one on a quiet machine
MODEL = (
    "config.json", "generation_config.json", "preprocessor_config.json", "tokenizer_config.json", "tokenizer.json",
    "chat_template.jinja",
)  # fmt: skip
RUN = ("config.json", "versions.json", "metrics.jsonl", "completions/step_000001/groups.jsonl")


def read_model(folder):
    _, processor = load_parts(folder, "float32")
    encode_prompt(processor, "How many?", [Image.new("RGB", (56, 56))])


def read_run(folder):
    open_workdir(folder, base_config(), ("*",)).close()
    for _ in (*read_metrics(folder), *read_completions(folder)):
        pass
    stored_config(folder), trained_with(folder)


def mutate(folder, names, read, count, seed):
    """The mutants that neither were read nor refused well, as text, and how many were read."""
    rng, wrong, good = random.Random(seed), [], 0
    whole = {name: (folder / name).read_bytes() for name in names}
    for number in range(count):
        name = rng.choice(names)
        (folder / name).write_bytes(damaged(whole[name], rng, name.endswith(".json")))
        try:
            within(LONGEST, read, folder)
            good += 1
        except (ValueError, OSError) as error:
            text = str(error)
            if str(folder) not in text and name not in text or "\n" in text.strip() and folder.name == "model":
                wrong.append(f"{number} {name}: {type(error).__name__}: {text[:300]}")
        except Exception as error:
            wrong.append(f"{number} {name}: {type(error).__name__}: {str(error)[:300]}")
        for other, content in whole.items():  # opening a run writes into it
            (folder / other).write_bytes(content)
    return wrong, good


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(resolve_init("nano"), folder)
    return folder


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    open_workdir(folder, base_config()).close()
    metrics = MetricsWriter(folder)
    for step in (1, 2):
        metrics.write(step, {"loss": 0.5, "reward": 1.0})
    metrics.close()
    group = Group(1, "a", "How many?", "2", ("<think>", "2"), reward=(0.0, 1.0), advantages=(-1.0, 1.0))
    CompletionsWriter(folder).write(1, [group])
    return folder


@pytest.mark.parametrize("count", [60, pytest.param(1_500, marks=pytest.mark.slow)])
def test_a_model_directory_is_read_or_refused_in_one_line(model, count):
    wrong, good = mutate(model, MODEL, read_model, count, seed=count)
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:20])
    assert count // 20 < good < count


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_a_run_directory_is_read_or_refused_by_file(run, count):
    wrong, good = mutate(run, RUN, read_run, count, seed=count)
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:20])
    assert count // 20 < good < count
