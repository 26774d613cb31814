"""A benchmark from questions to numbers, with answerers that are scripted: interruptions, failures, several answers."""

import json
import os
import re
from dataclasses import replace

import pytest

from rrft_jax.data.example import Example
from rrft_jax.evaluation.endpoint import Unanswered
from rrft_jax.evaluation.questions import Reply
from rrft_jax.evaluation.runner import run_benchmark
from rrft_jax.rewards.boxes import NUMBER
from rrft_jax.rewards.symbolic import verify_here
from rrft_jax.tasks.localised import place_reader
from rrft_jax.tasks.registry import get_task

COUNTING = get_task("visual_counting")
EXAMPLES = [Example(f"e{i}", "visual_counting", f"How many {i}?", str(i)) for i in range(6)]
ask = lambda example: f"Q: {example.problem}"  # noqa: E731


def answerer(texts, asked, fail_after=None, error=KeyboardInterrupt):
    """Answers from texts[id]; notes whom it was asked for."""

    def answer(questions):
        asked.append([q.id for q in questions])
        for number, question in enumerate(questions):
            if number == fail_after:
                raise error
            said = tuple(texts[question.id])
            yield Reply(question.id, said, (3,) * len(said), (True,) * len(said))

    return answer


def run(folder, answer, **options):
    return run_benchmark("counting_id", COUNTING, EXAMPLES, ask, answer, folder, verify_here, **options)


def test_numbers_of_a_whole_benchmark(tmp_path):
    texts = {f"e{i}": [str(i) if i < 4 else "9"] for i in range(6)}
    numbers = run(tmp_path, answerer(texts, []))
    assert numbers["questions"] == 6 and numbers["strict_score"]["mean"] == pytest.approx(4 / 6)
    assert numbers["paper_score"]["low"] < 4 / 6 < numbers["paper_score"]["high"]
    assert numbers["by_answer_type"]["non_choice"]["questions"] == 6
    assert numbers["length"]["mean"] == 3 and numbers["clipped_ratio"] == 0 and numbers["format_strict"] == 0
    assert json.loads((tmp_path / "counting_id.json").read_text()) == numbers
    lines = [json.loads(line) for line in (tmp_path / "counting_id.jsonl").read_text().splitlines()]
    assert [line["texts"] for line in lines] == [texts[f"e{i}"] for i in range(6)]


@pytest.mark.parametrize("name", ["detection", "grounding", "screen", "navigation", "referring"])
def test_answers_in_resized_pixels_are_converted_before_they_are_scored(name, tmp_path):
    """Qwen2.5-VL's convention. The model sees pictures of 140x84 pixels as 84x56: each axis has a scale of its own."""
    task, wide, high, seen = get_task(name), 140, 84, (84, 56)
    full = (1.0, 1.0) if name == "referring" else (1000.0, 1000.0)
    anew = lambda place: re.sub(  # noqa: E731
        rf"(?<=[\[(]){NUMBER}(?:, ?{NUMBER})+(?=[\])])",
        lambda found: ", ".join(
            f"{float(x) * seen[i % 2] / full[i % 2]:.3f}" for i, x in enumerate(found[0].split(","))
        ),
        place,
    )  # fmt: skip
    examples, texts = [], {}
    for i in range(24):
        made = task.make(0, i, "test", "in")
        if made.answer != "[-1,-1]":
            places = {key: made.metadata[key] for key in ("box", "boxes", "point") if made.metadata.get(key)}
            stretched = {key: _stretched(place, wide / 112, high / 112) for key, place in places.items()}
            action = made.metadata.get("action")
            stretched |= {"action": _pixels_of(made.answer, wide, high)} if action else {}
            metadata = {key: v for key, v in made.metadata.items() if key != "mask"}
            examples.append(replace(made, metadata=metadata | stretched | {"size": [wide, high]}))
            texts[made.id] = [task.targets["ans"](made).replace(made.answer, anew(made.answer))]
    read = place_reader(task, "resized", 3136, 56 * 112)
    numbers = run_benchmark("x", task, examples, ask, answerer(texts, []), tmp_path, verify_here, read=read)
    assert numbers["exact"]["mean"] == 1.0, numbers
    assert all(v == 1.0 for key, v in numbers["set_metrics"].items() if key not in ("wrong_format",)), numbers
    raw = run_benchmark("y", task, examples, ask, answerer(texts, []), tmp_path, verify_here)
    assert raw["exact"]["mean"] < 0.9


def _stretched(value, x, y):
    if isinstance(value[0], list | tuple):
        return [_stretched(each, x, y) for each in value]
    return [v * (y if i % 2 else x) for i, v in enumerate(value)]


def _pixels_of(answer, wide, high):
    """An action in thousandths, written in pixels of a picture."""
    scale = lambda found: f"({int(found[1]) * wide / 1000:.2f}, {int(found[2]) * high / 1000:.2f})"  # noqa: E731
    return re.sub(r"\((\d+), (\d+)\)", scale, answer)


def test_an_interrupted_benchmark_asks_each_question_once(tmp_path):
    texts, asked, told = {f"e{i}": [str(i)] for i in range(6)}, [], []
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, answerer(texts, asked, fail_after=2))
    numbers = run(tmp_path, answerer(texts, asked), on_reply=told.append)
    assert asked == [[f"e{i}" for i in range(6)], [f"e{i}" for i in range(2, 6)]]
    assert told == [2, 3, 4, 5, 6] and numbers["questions"] == 6 and numbers["exact"]["mean"] == 1


def test_questions_are_numbered_by_their_place_whoever_is_left(tmp_path):
    """Draws are addressed by the number: a resumed evaluation must not give question 4 the draws of question 2."""
    numbers = []

    def answer(questions):
        numbers.append({q.id: q.number for q in questions})
        for question in questions[: 2 if len(numbers) == 1 else None]:
            yield Reply(question.id, ("1",), (1,), (True,))

    run(tmp_path, answer)
    run(tmp_path, answer)
    assert numbers[1] == {f"e{i}": i for i in range(2, 6)}


def test_failed_questions_are_listed_and_asked_again(tmp_path):
    texts, asked = {f"e{i}": [str(i)] for i in range(6)}, []
    numbers = run(tmp_path, answerer(texts, asked, 5, Unanswered({"e5": "HTTP 500"})))
    assert numbers["questions"] == 5 and numbers["unanswered"] == {"e5": "HTTP 500"}
    assert "unanswered" not in run(tmp_path, answerer(texts, asked)) and asked[1] == ["e5"]
    with pytest.raises(ValueError, match="no question was answered; the first failure: e0: refused"):
        run(tmp_path / "none", answerer(texts, [], 0, Unanswered({"e0": "refused"})))


def test_several_answers_give_pass_and_majority(tmp_path):
    """Two right of four: pass@2 = 1 - C(2,2)/C(4,2) = 5/6; the majority of "1", "1", "2", "3" is right for e1 alone."""
    texts = {"e1": ["1", "2", "1", "3"]} | {f"e{i}": ["7", "7", "7", str(i)] for i in (0, 2, 3, 4, 5)}
    numbers = run(tmp_path, answerer(texts, []), ks=(1, 2, 4, 8))
    assert numbers["pass@1"]["mean"] == pytest.approx((2 / 4 + 5 * 1 / 4) / 6)
    assert numbers["pass@2"]["mean"] == pytest.approx((5 / 6 + 5 * 0.5) / 6)
    assert numbers["pass@4"]["mean"] == 1 and "pass@8" not in numbers
    assert numbers["maj@4"]["mean"] == pytest.approx(1 / 6)
    assert numbers["strict_score"]["mean"] == pytest.approx((2 / 4 + 5 * 1 / 4) / 6)


def test_ids_must_be_distinct(tmp_path):
    with pytest.raises(ValueError, match="ids of its questions are not distinct"):
        run_benchmark("x", COUNTING, [EXAMPLES[0]] * 2, ask, answerer({}, []), tmp_path, verify_here)


def test_an_answer_to_another_question_of_the_same_id_is_not_taken(tmp_path):
    run(tmp_path, answerer({f"e{i}": [str(i)] for i in range(6)}, []))
    for change in ({"problem": "How many cubes?"}, {"answer": "7"}):
        examples = [*EXAMPLES[:4], replace(EXAMPLES[4], **change)]
        with pytest.raises(ValueError, match=r"counting_id\.jsonl: e4 was answered when it was another question"):
            run_benchmark("counting_id", COUNTING, examples, ask, answerer({}, []), tmp_path, verify_here)


def test_a_kill_while_the_numbers_are_written_leaves_those_that_were_there(tmp_path, monkeypatch):
    """The table of the next command reads the numbers of all benchmarks: half of a file would stop it."""
    texts = {f"e{i}": [str(i)] for i in range(6)}
    before = run(tmp_path, answerer(texts, [], 5, Unanswered({"e5": "HTTP 500"})))

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, answerer(texts, []))
    assert json.loads((tmp_path / "counting_id.json").read_text()) == before


def test_the_task_takes_its_metric_of_the_whole_set(tmp_path):
    seen = []

    def summarise(predictions):
        seen.extend(predictions)
        return {"longest": max(len(text) for _, texts in predictions for text in texts)}

    task = replace(COUNTING, summarise=summarise)
    texts = {e.id: ("4", "four") for e in EXAMPLES}
    numbers = run_benchmark("counting_id", task, EXAMPLES, ask, answerer(texts, []), tmp_path, verify_here)
    assert numbers["set_metrics"] == {"longest": 4.0}
    assert [(example.id, list(texts)) for example, texts in seen] == [(e.id, ["4", "four"]) for e in EXAMPLES]
