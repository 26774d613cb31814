"""Examples are functions of their address, balanced, not to be guessed blind, and shown legibly."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.processing.processor import encode_completion, encode_prompt, load_processor
from rrft_jax.rewards import get
from rrft_jax.tasks import texts
from rrft_jax.tasks.structure_perception import TASK, generator, prompts
from rrft_jax.tasks.structure_perception.families import FAMILIES
from rrft_jax.tasks.structure_perception.figure import FRAME, HEIGHT, TOKEN
from rrft_jax.tasks.structure_perception.generator import example, figure_of
from rrft_jax.tasks.structure_perception.glyphs import BITMAPS, bitmap, width
from rrft_jax.tasks.structure_perception.settle import overlap

MANY = 240


@pytest.fixture(scope="module", params=["in", "out"])
def drawn(request):
    return [example(11, index, "test", request.param, 28) for index in range(MANY)]


def test_an_example_is_a_function_of_its_address():
    first = example(4, 7)
    example(4, 8)
    again = example(4, 7)
    np.testing.assert_array_equal(first.images[0], again.images[0])
    assert first.without_images() == again.without_images()
    assert first.images[0].shape == (112, 112, 3) and first.images[0].dtype == np.uint8
    assert first.id == "structure-in-train-4-000007" and first.task == "structure_perception" == generator.NAME
    assert set(first.metadata) == {"question_type", "answer_type", "index", "split", "domain", "listing"}
    assert figure_of(4, 7).listing() == first.metadata["listing"]
    assert generator.IMAGE_SIZE == (112, 112) and generator.DOMAINS == ("in", "out")


def test_splits_seeds_and_domains_are_disjoint():
    streams = [(0, "train"), (1, "train"), (0, "val"), (0, "trainx"), (0, "t")]
    seen = [
        (figure.lines, figure.labels)
        for seed, split in streams
        for domain in ("in", "out")
        for figure in (figure_of(seed, index, split, domain) for index in range(12))
    ]
    assert len(set(seen)) == len(seen)


def test_families_and_answer_types_are_balanced(drawn):
    domain = drawn[0].metadata["domain"]
    shares = Counter(made.metadata["question_type"] for made in drawn)
    assert set(shares) == set(FAMILIES[domain])
    for count in shares.values():
        assert 0.5 < count * len(shares) / MANY < 1.6
    kinds = Counter((made.metadata["question_type"], made.metadata["answer_type"]) for made in drawn)
    assert set(kinds) == {(family, kind) for family in shares for kind in ("numeric", "choice")}
    choices = [made.answer for made in drawn if made.metadata["answer_type"] == "choice"]
    assert 0.3 < len(choices) / MANY < 0.5
    assert all(0.12 < choices.count(letter) / len(choices) < 0.4 for letter in "ABCD")


def test_the_text_alone_does_not_give_the_answer(drawn):
    assert Counter(made.answer for made in drawn).most_common(1)[0][1] < 0.25 * MANY
    # The best answer to each question's wording, choices aside, learnt on one half and tried on the other.
    wordings = defaultdict(Counter)
    ask = lambda made: (made.problem.split(" Choices")[0], made.metadata["answer_type"])  # noqa: E731
    for made in drawn[::2]:
        wordings[ask(made)][made.answer] += 1
    hits = sum(bool(c := wordings[ask(made)]) and c.most_common(1)[0][0] == made.answer for made in drawn[1::2])
    assert hits < 0.25 * MANY / 2


@pytest.mark.parametrize("domain", ["in", "out"])
def test_labels_are_legible_where_they_are_said_to_be(domain):
    for index in range(25):
        figure = figure_of(2, index, "labels", domain)
        picture = example(2, index, "labels", domain).images[0].astype(int)
        labels = figure.labels
        assert 1 <= len(labels) <= 4
        cells = [label.cell for label in labels]
        assert cells == sorted(set(cells))  # one to a visual token, in reading order
        for label in labels:
            left, top, right, bottom = label.box
            assert 1 <= left and right <= FRAME - 1 and 1 <= top and bottom <= FRAME - 1
            assert abs(label.x % TOKEN - TOKEN / 2) <= 9 and abs(label.y % TOKEN - TOKEN / 2) <= 9
            assert not any(overlap(label, other, 3) for other in labels if other is not label)
            # Black where the bitmap has ink; what lies around it, a pixel farther too, is as light as the ground.
            here = picture[int(top) - 1 : int(bottom) + 1, int(left) - 1 : int(right) + 1]
            ink = np.pad(bitmap(label.text), 1)
            assert here[ink].max() < 60 and here[~ink].min() > 200, label


def test_signs_differ_and_three_digits_fit_one_token():
    assert all(sign.shape[0] == HEIGHT == 12 for sign in BITMAPS.values())
    shapes = list(BITMAPS.values())
    for i, one in enumerate(shapes):
        for other in shapes[:i]:
            assert one.shape != other.shape or (one != other).sum() >= 8  # two cells of a digit
    assert max(width(str(number)) for number in range(100, 200)) <= TOKEN
    assert bitmap("40").shape == (12, width("40")) == (12, 18)


@pytest.mark.parametrize("domain", ["in", "out"])
def test_pictures_of_other_sizes_show_the_same_figure(domain):
    large = example(0, 5, "train", domain, 224).images[0].reshape(112, 2, 112, 2, 3).mean(axis=(1, 3))
    assert np.abs(large - example(0, 5, "train", domain).images[0]).mean() < 2.0


def test_domains_look_and_speak_differently():
    words = {d: {w for i in range(60) for w in example(0, i, "w", d, 28).problem.split()[:5]} for d in ("in", "out")}
    assert "Find" in words["in"] and not {"Find"} & words["out"] and not {"Solve", "value"} & words["in"]
    means = [example(0, 0, "train", d).images[0].reshape(-1, 3).astype(int) for d in ("in", "out")]
    assert np.ptp(means[0], axis=1).max() > 100 and np.ptp(means[1], axis=1).max() == 0  # blue lines, or grey ones


def test_texts_are_short(drawn):
    processor = load_processor("rrft_jax/assets/nano")
    for made in drawn[:120]:
        assert len(encode_completion(processor, texts.cot_target(made))) <= TASK.shapes.completion, made.cot
        text = prompts.format_prompt(prompts.choose_cot(made), made.problem)
        assert len(encode_prompt(processor, text, made.images).tokens) <= 150


def test_wrong_names_are_refused():
    for domain, families in FAMILIES.items():
        for kind in families:
            assert example(6, 0, "kinds", domain, 28, kind).metadata["question_type"] == kind
    with pytest.raises(ValueError, match="'both'.*in, out"):
        example(0, 0, domain="both")
    with pytest.raises(ValueError, match="'kite'.*'in'.*triangle"):
        example(0, 0, kind="kite")


def test_prompts_and_targets(drawn):
    tags = "Q? Output the thinking process in <think> </think> and final answer"
    assert (
        prompts.format_prompt("GEO_NUM_COT", "Q?") == f"{tags} (float number or int number) in <answer> </answer> tags."
    )
    assert prompts.format_prompt("GEO3K_COT", "Q?") == f"{tags} (number or choice) in <answer> </answer> tags."
    assert prompts.format_prompt("GEO_CHOICE_COT", "Q?") == (
        "Q? Please select the correct answer by writing the letter (A, B, C or D) that precedes your choice.\n"
        "Output the thinking process in <think> </think> and final answer (chosen letter) in <answer> </answer> tags."
    )
    assert prompts.format_prompt("GEO_ZS", "Q?") == (
        "Please answer the question with only numbers (either integer or float, such as 1, 2, 5.2, etc.) or options "
        "(such as A, B, C, or D). If it is an option, please provide your answer as a single letter (A, B, C, or D). "
        "For example, if the answer is A, just respond with A. Do not include any explanations or additional text. Q?"
    )
    assert prompts.format_prompt("ANS", "Is {x}?") == "Is {x}?"
    assert prompts.format_prompt("FIGURE_LISTING", "Q?") == "Describe the figure."
    for made in drawn[:20]:
        by_type = {"choice": "GEO_CHOICE_COT", "numeric": "GEO_NUM_COT"}
        assert prompts.choose_cot(made) == by_type[made.metadata["answer_type"]]
        assert texts.cot_target(made) == f"<think>\n{made.cot}\n</think>\n<answer>\n{made.answer}\n</answer>"
        assert texts.ans_target(made) == made.answer
        assert texts.listing_target(made) == made.metadata["listing"]
    with pytest.raises(KeyError, match="GEO_NUM_COT"):
        prompts.format_prompt("GEO", "Q?")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["in", "out"]), st.integers(1, 40))
def test_the_own_thought_is_rewarded_in_full_and_a_wrong_answer_not_at_all(index, domain, off):
    made = example(1, index, "rewards", domain, 28)
    letter = made.metadata["answer_type"] == "choice"
    wrong = "ABCD"[("ABCD".index(made.answer) + off % 3 + 1) % 4] if letter else str(float(made.answer) + off)
    text = texts.cot_target(made)
    spoilt = text.replace(f"<answer>\n{made.answer}\n", f"<answer>\n{wrong}\n")
    for reward in (get("accuracy"), get("accuracy_paper")):
        assert list(reward([text, spoilt], [made, made], [0, 0], 0)) == [1.0, 0.0]
        assert list(reward([texts.ans_target(made)], [made], [0], 0)) == [1.0]
    assert list(get("format")([text], [made], [0], 0)) == [1.0]
