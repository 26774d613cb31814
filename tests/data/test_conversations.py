"""Records that are conversations: what is read of them, and what is said where not all of it can be."""

import json

import pytest
from PIL import Image

from rrft_jax.data.folder import read_records

U, A, S = "user", "assistant", "system"


@pytest.fixture
def read(tmp_path):
    """read(record) -> (the example or None, the problems)"""
    (tmp_path / "images").mkdir()
    for name in "abc":
        Image.new("RGB", (4, 3)).save(tmp_path / "images" / f"{name}.png")

    def one(record):
        text = record if isinstance(record, str) else json.dumps(record)
        good = {"id": "good", "image": [], "problem": "?", "answer": "1"}
        (tmp_path / "talks.json").write_text(f"[{json.dumps(good)}, {text}]")
        records = read_records(tmp_path)
        assert all((p.file, p.record[:8]) == ("talks.json", "record 1") for p in records.problems)
        return (records.examples[1] if len(records.examples) > 1 else None), records.problems

    return one


def messages(*said, **fields):
    return {"images": [], "messages": [{"role": role, "content": text} for role, text in said]} | fields


def names(example):
    return [image.rpartition("/")[2] for image in example.images]


def test_several_turns_are_read_whole(read):
    said = [(S, "Count."), (U, "<image>How many?"), (A, "<think>One.</think><answer>1</answer>"), (U, "And red ones?"),
            (A, "None.")]  # fmt: skip
    example, problems = read(messages(*said, images=["a.png"]))
    assert not problems and example.system == "Count." and names(example) == ["a.png"]
    assert example.history == tuple(said[1:3]) and (example.problem, example.reply) == ("And red ones?", "None.")
    assert (example.answer, example.cot, example.id) == ("None.", None, "talks-000001")
    assert example.metadata == {"file": "talks.json", "record": 1}


def test_one_turn_is_a_question_as_any_other(read):
    example, _ = read(messages((U, "<image>\nHow many?"), (A, "<think>t</think><answer>3</answer>"), images=["a.png"]))
    assert (example.problem, example.answer, example.cot) == ("How many?", "3", "t")
    assert example.history == () and example.reply is example.system is None


@pytest.mark.parametrize(
    "reply, answer, cot",
    [
        ("<think>t</think><answer>3", "3", "t"),
        ("<think>t</think> 3", "3", "t"),
        ("<think>maybe <answer>2</answer></think><answer>3</answer></think>", "3", "maybe 2"),
        ("<answer>2</answer> no: <answer>3</answer>", "3", "2 no:"),
        ("One by one. <answer>3</answer>", "3", "One by one."),
        ("3", "3", None),
    ],
)
def test_the_message_of_the_assistant_is_read_as_a_completion(read, reply, answer, cot):
    example, problems = read(messages((U, "<image>\nHow many?"), (A, reply), images=["a.png"]))
    assert not problems and (example.answer, example.cot) == (answer, cot)


def test_a_message_without_an_answer_is_listed(read):
    _, problems = read(messages((U, "<image>\nHow many?"), (A, "<think>there are 3"), images=["a.png"]))
    assert [problem.kind for problem in problems] == ["empty answer"]


@pytest.mark.parametrize(
    "record",
    [
        {"image": "a.png", "conversations": [{"from": "human", "value": "<image>Q"}, {"from": "gpt", "value": "4"}]},
        {"images": "a.png", "prompt": [{"role": U, "content": "Q"}], "completion": [{"role": A, "content": "4"}]},
        {"images": ["a.png"], "prompt": [{"role": U, "content": "Q"}], "solution": "<answer>4</answer>"},
        {"images": ["a.png"], "answer": 4,
         "messages": [{"role": U, "content": [{"type": "image"}, {"type": "text", "text": "Q"}]}]},
        {"messages": [{"role": U, "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "Q"}]},
                      {"role": A, "content": [{"type": "text", "text": "4"}]}]},
        {"messages": [{"role": U, "content": [{"type": "image_url", "image_url": {"url": "a.png"}}, "Q"]},
                      {"role": A, "content": "4", "tool_calls": None, "weight": None}]},
        {"images": ["a.png"], "problem": "Q", "answer": "4", "system": None, "conversations": None,
         "messages": [{"role": U, "content": "<image>Q"}, {"role": A, "content": "4"}]},
        {"images": ["a.png"], "messages": [
            {"role": U, "content": "<|vision_start|><|image_pad|><|vision_end|>Q"}, {"role": A, "content": "4"}]},
    ],
)  # fmt: skip
def test_the_layouts_of_other_projects(read, record):
    example, problems = read(record)
    assert not problems
    assert (example.problem, example.answer, names(example)) == ("Q", "4", ["a.png"]), record


@pytest.mark.parametrize(
    ("text", "pictures", "problem"),
    [
        ("<image><image>Compare.", ["a.png", "b.png"], "Compare."),
        ("Compare.", ["a.png", "b.png"], "Compare."),
        ("Is <image> like <image>?", ["a.png", "b.png"], "Is <image> like <image>?"),
        ("What is it?\n<image>", ["a.png"], "What is it?\n<image>"),
        ("No picture.", [], "No picture."),
    ],
)
def test_marks_stay_where_they_say_something(read, text, pictures, problem):
    """In a conversation as in a plain record; in front of all text they are the order of things, and go."""
    for record in (
        messages((U, text), (A, "4"), images=pictures), {"id": 1, "image": pictures, "problem": text, "answer": "4"}
    ):  # fmt: skip
        example, problems = read(record)
        assert not problems and example.problem == problem and names(example) == pictures
        assert example.marked == ("<image>" in problem)


def test_pictures_of_a_conversation_without_marks_belong_to_its_first_question(read):
    example, _ = read(messages((U, "Q1"), (A, "1"), (U, "Q2"), (A, "2"), images=["a.png", "b.png"]))
    assert example.history[0] == (U, "<image><image>Q1") and example.marked


TAIL = "Output the thinking process in <think> </think> and final answer (number) in <answer> </answer> tags."


LETTER = "Please select the correct answer by writing the letter (A, B, C or D) that precedes your choice."


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"How many? {TAIL}", "How many?"),
        (f"Look. {TAIL} How many are red?", f"Look. {TAIL} How many are red?"),
        (f"Which? {LETTER} {TAIL}", "Which?"),
        (f"Which? {LETTER}\n{TAIL}", "Which?"),
        (f"{LETTER} Count the cubes. {TAIL}", f"{LETTER} Count the cubes."),
        ("Q Please output the answer only with a sequence of functions, as f(a, b).", "Q"),
        (f"{TAIL} Count the cubes.", f"{TAIL} Count the cubes."),
        ("First example: 3.\nNow, it's your turn! Count.", "First example: 3.\nNow, it's your turn! Count."),
        (f"Rules. ### Output Format ...\n\nNow, it's your turn!\n\nQ {TAIL}\n", "Q"),
    ],
)
def test_only_a_published_template_around_a_question_is_taken_off(read, text, problem):
    """Nothing that a user wrote before or behind such words is lost."""
    assert read(messages((U, text), (A, "4")))[0].problem == problem


@pytest.mark.parametrize(
    ("record", "kind", "words"),
    [
        (messages((U, "<image>Q"), (A, "4")), "wrong marks", "holds 1 <image> for 0 pictures"),
        (messages((U, "<image>Q"), (A, "4"), images=["a.png", "b.png"]), "wrong marks", "1 <image> for 2 pictures"),
        (messages((U, "<image>Q"), (A, "1"), (U, "<image>R"), (A, "2"), images=["a.png"]), "wrong marks", "holds 2"),
        (messages((U, "Q"), (A, "See <image>."), images=["a.png"]), "wrong marks", "turn 2 holds <image>"),
        (messages((U, "<image 1>Q"), (A, "4"), images=["a.png"]), "wrong marks", "holds <image 1>"),
        (messages((U, "Q"), (A, "<|image_pad|>4")), "wrong marks", "holds <|image_pad|>"),
        (messages((U, "<video>Q"), (A, "4")), "wrong marks", "holds <video>"),
        (messages((U, "<|image_pad|>Q"), (A, "4"), images=["a.png"]), "wrong marks", "<|image_pad|>"),
        (messages((U, "<Image>Q"), (A, "4"), images=["a.png"]), "wrong marks", "<Image>"),
        (messages((U, "Q"), (A, "4"), videos=["v.mp4"]), "not read", "has videos"),
        (messages((U, "Q"), (A, "4"), tools="[...]"), "not read", "has tools"),
        (messages((A, "Hello!"), (U, "Q"), (A, "4")), "wrong order", "first turn is of the assistant"),
        (messages((U, "Q"), (U, "R"), (A, "4")), "wrong order", "second turn is of the user"),
        (messages((U, "Q"), (A, "4"), (A, "5")), "wrong order", "third turn is of the assistant"),
        (messages((U, "Q"), (S, "Count."), (A, "4")), "wrong order", "second turn is of the system"),
        (messages((S, "Count.")), "wrong order", "nobody asks"),
        (messages(), "wrong order", "conversation is empty"),
        (messages((U, "Q"), ("tool", "x"), (A, "4")), "unknown role", "turn 2 is of 'tool'"),
        (messages((U, "Q")), "missing field", "its conversation ends with the user"),
        (messages((U, "Q"), (A, " ")), "empty turn", "turn 2 is empty"),
        (messages((U, "Q"), (A, "nan")), "missing field", "turn 2 is 'nan'"),
        (messages((U, "Q"), (A, None)), "wrong type", "turn 2 holds null"),
        (messages((U, "Q"), (A, "4"), system="A.", messages=[{"role": S, "content": "B."}, {"role": U, "content": "Q"},
                  {"role": A, "content": "4"}]), "contradiction", "field system and its turn of the system"),
        (messages((U, "Q"), (A, "4"), answer="5"), "contradiction", "field answer and its conversation"),
        (messages((U, "Q"), (A, "4"), problem="R"), "contradiction", "field problem and its conversation"),
        (messages((U, "Q"), (A, "<think>t</think><answer>4</answer>"), cot="u"), "contradiction", "field cot"),
        (messages((U, "Q"), (A, "4"), conversations=[{}]), "contradiction", "messages and conversations"),
        (messages((U, "Q"), (A, "4"), completion=["x"]), "contradiction", "messages and completion"),
        (messages((U, "Q"), (A, "4")) | {"messages": "[]"}, "wrong type", "messages is a string"),
        (messages((U, "Q"), (A, "4")) | {"messages": ["Q"]}, "wrong type", "turn 1 is a string"),
        ({"image": [], "messages": [{"role": U, "content": "Q", "value": "R"}, {"role": A, "content": "4"}]},
         "contradiction", "content and value, which differ"),
        ({"image": [], "messages": [{"role": U, "content": "Q"}, {"role": A, "content": "4", "tool_calls": [{}]}]},
         "not read", "has tool_calls"),
        ({"image": [], "messages": [{"role": U, "content": "Q"}, {"role": A, "content": "4", "thinking": "t"}]},
         "not read", "has thinking"),
        (messages((U, [{"type": "text", "text": "Q", "image": "b.png"}]), (A, "4"), images=["a.png"]), "not read",
         "a picture in a part of type 'text'"),
        (messages((U, [{"type": "image", "image": "a.png", "text": "Q"}, "R"]), (A, "4")), "not read",
         "text in a part of type 'image'"),
        (messages((U, [{"type": "image", "image": "a.png", "path": "b.png"}, "R"]), (A, "4")), "contradiction",
         "two different pictures"),
        (messages((U, [{"type": "image", "image": "https://a.b/c.png"}, "R"]), (A, "4")), "missing image", "address"),
        (messages((U, "\u200b"), (A, "4")), "empty turn", "turn 1 is empty"),
        ({"id": "r", "image": [], "problem": "Q", "answer": "4", "history": [["before", "1"]]}, "not read",
         "has turns in history"),
        ({"image": [], "messages": [{"role": U, "content": [{"type": "audio"}]}, {"role": A, "content": "4"}]},
         "not read", "a part of type 'audio'"),
        ({"images": ["b.png"], "messages": [{"role": U, "content": [{"type": "image", "path": "a.png"}, "Q"]},
                                            {"role": A, "content": "4"}]}, "contradiction", "name different pictures"),
        (messages((U, "Q\ud83d"), (A, "1"), (U, "R"), (A, "4")), "bad JSON", "a turn holds half of a character"),
        ('{"image": [], "messages": [{"role": "user", "content": "Q", "content": "R"}]}', "repeated key", "'content'"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_whole_is_listed(read, record, kind, words):
    example, problems = read(record)
    assert example is None
    assert kind in {problem.kind for problem in problems} and words in "\n".join(map(str, problems)), problems
