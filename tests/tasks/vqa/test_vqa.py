"""General questions: what a record's options and answer become, and how it is asked and scored."""

import json

import pytest

from rrft_jax.data.example import Example
from rrft_jax.evaluation.benchmarks import choose_benchmarks
from rrft_jax.evaluation.scoring import score_answers
from rrft_jax.evaluation.sources import questions
from rrft_jax.rewards.symbolic import verify_here
from rrft_jax.tasks.registry import get_task
from rrft_jax.tasks.vqa.choices import by_letter, kind, listed

TASK = get_task("vqa")


def example(problem, answer, **metadata):
    return Example("e", "vqa", problem, answer, metadata=metadata)


@pytest.mark.parametrize(
    "answer, options, letter",
    [
        ("dog", ["cat", "dog"], "B"),
        ("Dog.", ["cat", "dog", "cow"], "B"),
        ("B", ["cat", "dog"], "B"),
        ("(B)", ["cat", "dog"], "B"),
        ("B. dog", ["cat", "dog"], "B"),
        ("F", list("uvwxyz"), "F"),
        ("dog", {"A": "cat", "B": "dog"}, "B"),
        ("2", [1, 2, 3], "B"),
        ("B", ["A", "B"], "B"),  # letter and text agree
    ],
)
def test_options_in_a_field_stand_behind_the_question_and_the_answer_is_a_letter(answer, options, letter):
    for field in ("options", "choices"):
        made = by_letter(example("What is it?", answer, **{field: options}))
        texts = list(options.values()) if isinstance(options, dict) else options
        assert made.answer == letter and kind(made) == "choice"
        assert made.problem == "\n".join(["What is it?", *(f"{chr(65 + i)}. {t}" for i, t in enumerate(texts))])
        assert by_letter(made) == made


@pytest.mark.parametrize(
    "answer, options, message",
    [
        ("bird", ["cat", "dog"], "'bird' is neither the letter nor the text of one of its options: A. cat, B. dog"),
        ("C", ["cat", "dog"], "'C' is neither"),
        ("1", ["cat", "dog"], "'1' is neither"),  # counted from 0 or from 1?
        ("B. cat", ["cat", "dog"], "'B. cat' is neither"),
        ("dog", ["dog", "dog"], "'dog' is neither"),
        ("A", ["B", "A"], "'A' is a letter and also the text of option B"),
        ("a", "['cat', 'dog']", "options is .* make it a list of 2 to 26 texts"),
        ("a", ["cat"], "make it a list of 2 to 26 texts"),
        ("a", ["cat", None], "options holds None; make every option a text"),
        ("a", ["cat", float("nan")], "options holds nan; make every option a text"),
        ("a", {"B": "cat", "A": "dog"}, "options has the keys B, A; name them A, B, ... in order"),
    ],
)
def test_options_that_do_not_fit_their_answer_are_refused(answer, options, message):
    with pytest.raises(ValueError, match=message):
        by_letter(example("What is it?", answer, options=options))


@pytest.mark.parametrize(
    "text, options",
    [
        ("Find x. Choices: A: 10, B: 20, C: 30.", ["10", "20", "30."]),
        ("Which?\n(A) a cat\n(B) a dog\nAnswer briefly.", ["a cat", "a dog"]),
        ("Which? A. red B. blue", ["red", "blue"]),
        ("A. one B. two\nOr rather:\nA) three\nB) four", ["three", "four"]),
        ("Who is taller, J. Smith or A. Jones?", []),
        ("Is it 3 A. or less?", []),
        ("Plan A: go", []),
    ],
)
def test_options_in_the_text(text, options):
    assert listed(text) == options


def test_text_that_lists_options_is_not_listed_twice_and_an_answer_in_words_becomes_its_letter():
    text = "Which?\nA. red\nB. blue"
    assert by_letter(example(text, "blue", options=["red", "blue"])).problem == text
    assert by_letter(example(text, "blue")).answer == by_letter(example(text, "B")).answer == "B"
    smith = example("A. Smith and B. Jones are here. Who waves?", "Smith")
    assert by_letter(smith) == smith and kind(smith) == "open"


def test_open_questions_and_choices_have_prompts_of_their_own():
    choice = by_letter(example("Which?", "red", options=["red", "blue"]))
    for paradigm, of_choice, of_open in (
        ("cot", "final answer (chosen letter) in <answer>", "and final answer in <answer>"),
        ("zero_shot", "option's letter", "single word or phrase"),
    ):
        ask = TASK.prompt_fn(paradigm, real=True)
        assert of_choice in ask(choice) and of_open not in ask(choice) and ask(choice).startswith("Which?\nA. red\nB.")
        assert of_open in ask(example("What colour?", "red")) and of_choice not in ask(example("What colour?", "red"))
    assert TASK.prompt_fn("ans")(example("What colour?", "red")) == "What colour?"
    assert not any("number" in text for text in TASK.templates.values())


def test_scores():
    texts = ["<think>t</think><answer>B</answer>", "B", "<think>t</think><answer>A</answer>"]
    found = score_answers(TASK, texts, [example("Which? A. x B. y", "B")] * 3, verify=verify_here)
    assert [(s.strict_score, s.paper_score, s.answer, s.answer_type) for s in found] == [
        (1.0, 1.0, "B", "choice"), (1.0, 1.0, "B", "choice"), (0.0, 0.0, "A", "choice"),
    ]  # fmt: skip
    (said,) = score_answers(TASK, ["<answer>Red</answer>"], [example("What colour?", "red")], verify=verify_here)
    assert (said.strict_score, said.answer_type) == (1.0, "open")


def test_a_folder_of_records_is_its_benchmark(tmp_path):
    records = [
        {"id": "a", "image": [], "problem": "Which?", "answer": "dog", "options": ["cat", "dog"]},
        {"id": "b", "image": [], "problem": "Which?", "answer": "cow", "options": ["cat", "dog"]},
        {"id": "c", "image": [], "problem": "How many?", "answer": "3", "task": "visual_counting"},
    ]
    (tmp_path / "mine.json").write_text(json.dumps(records))
    (benchmark,) = choose_benchmarks("vqa")
    examples, ask, about = questions(benchmark, str(tmp_path), 0, "zero_shot")
    assert [(e.id, e.answer) for e in examples] == [("a", "B")] and "B. dog" in ask(examples[0])
    assert about["source"] == "records" and len(about["skipped"]) == 2
    assert "'cow' is neither" in about["skipped"][0] and "its task is visual_counting, not vqa" in about["skipped"][1]
    with pytest.raises(ValueError, match="vqa generates no questions; give --data_dir"):
        questions(benchmark, "", 0, "cot")
    with pytest.raises(ValueError, match="problems in"):
        questions(benchmark, str(tmp_path), 0, "cot", strict=True)
