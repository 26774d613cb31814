"""The Reason-RFT layout: what is read, and what is said about records that cannot be."""

import gzip
import json
from pathlib import Path

import pytest
from PIL import Image

from rrft_jax.data.folder import read_records
from rrft_jax.data.records import RecordError
from rrft_jax.rewards.format import is_strict
from rrft_jax.tasks.texts import cot_target

S2 = "change_size(7, large), change_color(2, red)"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 3)).save(tmp_path / "images" / name)
    return tmp_path


def record(**changes):
    base = {"id": "r1", "image": "a.png", "problem": "How many?", "answer": "4"} | changes
    return {k: v for k, v in base.items() if v != "(absent)"}


def write(folder, *records, name="records.json"):
    (folder / name).write_text(json.dumps(list(records)))
    return folder


def test_every_published_form_of_a_record(folder):
    write(
        folder,
        record(id="plain"),
        record(id="two", image=["a.png", "b.png"], cot="Because."),
        record(id="dict", image={"path": "images/b.png"}, answer="(absent)", solution="<answer> B </answer>"),
        record(id="both", solution="<answer>3</answer> no, <answer>4</answer>"),
        record(id="text", image=[], answer=4, cot=""),
        record(id=7, question_type="count"),
    )
    records = read_records(folder, task="counting")
    assert records.problems == () and records.report() == "6 records read, 0 skipped"
    plain, two, dict_, both, text, number = records.examples
    a, b = str(folder / "images" / "a.png"), str(folder / "images" / "b.png")
    assert (plain.task, plain.problem, plain.answer, plain.images, plain.cot) == (
        "counting", "How many?", "4", (a,), None
    )  # fmt: skip
    assert two.images == (a, b) and two.cot == "Because."
    assert dict_.images == (b,) and dict_.answer == "B"
    assert both.answer == "4"
    assert text.images == () and text.answer == "4" and text.cot is None
    assert number.id == "7" and number.metadata == {"question_type": "count", "file": "records.json", "record": 5}


def test_a_published_chain_of_thought_trains_as_one_thought_and_one_answer(folder):
    fixture = Path(__file__).parents[1] / "fixtures" / "answers" / "published_cot.json"
    (folder / "A3.json").write_text(fixture.read_text())
    records = read_records(folder)
    assert len(records.examples) == 12 and not records.problems
    for number, example in enumerate(records.examples):
        assert example.cot == f"There are five objects. 5 + 4 = 9. Case {number}."
        assert is_strict(cot_target(example))


@pytest.mark.parametrize(
    "cot, answer, thought",
    [
        ("5 + 4 = 9.", "9", "5 + 4 = 9."),
        ("<think>5 + 4 = 9.</think>", "9", "5 + 4 = 9."),
        ("< Think>5 + 4 = 9.</THINK>\n<answer>\n9\n</answer>", "9", "5 + 4 = 9."),
        ("5 + 4 = 9. <answer>9</answer>", "9", "5 + 4 = 9."),
        ("<think>First <answer>8</answer>, no: 9.</think><answer>9</answer>", "9", "First 8, no: 9."),
        ("<think>t</think><answer>9 objects", "9", "t"),
        ("<answer>9</answer>", "9", None),
        ("<think></think><answer>9</answer>", "9", None),
        ("<think>t</think><answer>(B) 12</answer>", "B", "t"),
        ("<think>t</think><answer>\\frac{1}{2}</answer>", "0.5", "t"),
        ("<think>t</think><answer>change_color(2,red) change_size(7,large)</answer>", S2, "t"),
    ],
)
def test_a_chain_of_thought_is_read_without_its_tags(folder, cot, answer, thought):
    records = read_records(write(folder, record(cot=cot, answer=answer)))
    (example,) = records.examples
    assert (example.cot, example.answer) == (thought, answer) and not records.problems
    assert thought is None or is_strict(cot_target(example))


@pytest.mark.parametrize(
    "cot, answer",
    [
        ("<think>t</think><answer>10</answer>", "9"),
        ("<think>t</think><answer>10", "9"),
        ("t <answer>9 or 10</answer>", "9"),
        ("<think>t</think><answer>C</answer>", "B"),
        ("<think>t</think><answer>B</answer>", "9"),
        ("<think>t</think><answer>change_size(7, small)</answer>", "change_size(7, large)"),
    ],
)
def test_a_chain_of_thought_that_ends_in_another_answer_is_listed(folder, cot, answer):
    (problem,) = read_records(write(folder, record(id="good"), record(cot=cot, answer=answer))).problems
    assert problem.kind == "contradiction" and repr(answer) in problem.message


def test_a_letter_may_stand_for_the_text_of_an_option(folder):
    problem = "Which one? A. red cube B. blue cube"
    cot = "<think>t</think><answer>B</answer>"
    (example,) = read_records(write(folder, record(problem=problem, cot=cot, answer="blue cube"))).examples
    assert example.cot == "t"


@pytest.mark.parametrize(
    "written, text",
    [
        ("3.14159265358979323846", "3.14159265358979323846"),
        ("12345678901234567.0", "12345678901234567"),
        ("-0.0", "0"),
        ("1e-400", "0." + "0" * 399 + "1"),
        ("1e-9999", "1E-9999"),
        # what programs print of a float, in more digits than it takes to tell it from others
        ("0.10000000000000001", "0.1"),
        ("0.1000000000000000055511151231257827", "0.1"),
        ("1E5", "100000"),
    ],
)
def test_no_digit_of_a_number_is_lost(folder, written, text):
    (folder / "records.json").write_text(
        f'[{{"id": "a", "image": [], "problem": "Q", "answer": {written}, "score": {written}}}]'
    )
    (example,) = read_records(folder).examples
    assert example.answer == text
    json.dumps(dict(example.metadata))


@pytest.mark.parametrize("stored, text", [(5, "5"), (5.0, "5"), (-2.0, "-2"), (2.5, "2.5"), (1e300, "1e+300")])
def test_a_number_as_answer(folder, stored, text):
    """Whole numbers beside a missing one come out of most table tools as 5.0."""
    (example,) = read_records(write(folder, record(answer=stored)), task="counting").examples
    assert example.answer == text


@pytest.mark.parametrize(
    ("bad", "kind", "words"),
    [
        (record(id="(absent)"), "missing field", "has no id"),
        (record(problem="(absent)"), "missing field", "has no problem"),
        (record(answer="(absent)"), "missing field", "neither answer nor solution"),
        (record(image="(absent)"), "missing field", "has no image"),
        (record(problem=["How many?"]), "wrong type", "problem is a list"),
        (record(answer=None), "missing field", "answer is null"),
        (record(answer=True), "wrong type", "answer is a boolean"),
        (record(image=3), "wrong type", "image is a number"),
        (record(image=[{"file": "a.png"}]), "wrong type", "image is an object"),
        (record(cot=["no"]), "wrong type", "cot is a list"),
        (record(answer="  "), "empty answer", "answer is empty"),
        (record(answer="(absent)", solution="<answer> </answer>"), "empty answer", "between its tags"),
        (record(problem=" "), "empty problem", "problem is empty"),
        (record(problem="<image>\ufeff"), "empty problem", "but for <image>"),
        (record(answer="\u200b"), "empty answer", "answer is empty"),
        (record(image="https://a.b/c.png"), "missing image", "address 'https://a.b/c.png'; save the picture"),
        (record(image="data:image/png;base64,iVBORw0KGgo="), "missing image", "save the picture as a file"),
        (record(image="c.png"), "missing image", "images/c.png"),
        (record(solution="5"), "contradiction", "'4' and solution '5' differ"),
        (record(image="c" * 300), "missing image", "is not at"),  # longer than a file system's names may be
        (record(image="iVBORw0KGgo" * 500), "wrong type", "image is a text of 5500 characters"),
        (record(image={"bytes": "iVBORw0KGgo", "path": "a.png"}), "wrong type", "bytes that are a string"),
        (record(problem="\ud83d?"), "bad JSON", "problem holds half of a character, '\\ud83d' at place 0"),
        (record(image="\ud83d.png"), "bad JSON", "image holds half of a character"),
        (record(cot="Yes \ude00."), "bad JSON", "cot holds half of a character"),
        (record(answer=float("nan")), "missing field", "neither answer nor solution (answer is NaN)"),
        (record(answer=float("inf")), "missing field", "answer is Infinity"),
        (record(answer=float("-inf"), solution=None), "missing field", "(answer is Infinity, solution is null)"),
        (record(answer="NaN"), "missing field", "answer is 'NaN', as tables write what is missing"),
        (record(answer="(absent)", solution="<answer>nan</answer>"), "missing field", "solution is 'nan'"),
        (record(id="nan"), "missing field", "id is 'nan', as tables write what is missing"),
        (record(problem="<image> nan"), "empty problem", "is 'nan' but for <image>"),
        (record(id=float("nan")), "missing field", "has no id (id is NaN)"),
        (record(problem=float("nan")), "missing field", "has no problem (problem is NaN)"),
        (record(problem="<NA>"), "missing field", "problem is '<NA>'"),
        (record(image=float("nan")), "missing field", "has no image (image is NaN)"),
        (record(image=None, images=None), "missing field", "(image is null, images is null)"),
        (record(image=["a.png", None]), "wrong type", "image is null"),
        (record(images=["b.png"]), "contradiction", "its image and its images name different pictures"),
        (record(image="a.png", images=["a.png", "b.png"]), "contradiction", "name different pictures"),
        (record(problem="<image> or <image>?"), "wrong marks", "holds 2 <image> for 1 pictures"),
        (record(problem="<image>?", image=[]), "wrong marks", "holds 1 <image> for 0 pictures"),
        (record(problem="<image>"), "empty problem", "is '' but for <image>"),
        (record(cot="In <image> I see."), "wrong marks", "cot holds <image>"),
        (record(video="a.mp4"), "not read", "has video"),
        (record(id="good"), "duplicate id", "already used by records.json, record 0"),
        ("r1", "wrong type", "is a string where an object"),
    ],
)
def test_a_bad_record_is_named_and_skipped(folder, bad, kind, words):
    records = read_records(write(folder, record(id="good"), bad))
    assert [e.id for e in records.examples] == ["good"]
    (problem,) = records.problems
    assert (problem.file, problem.kind) == ("records.json", kind)
    assert str(problem).startswith("records.json, record 1") and words in str(problem)
    assert records.report().startswith(f"1 records read, 1 skipped ({kind}: 1)\n")


def test_what_is_missing_beside_what_is_there_costs_nothing(folder):
    nan = float("nan")
    write(folder, record(answer=nan, solution="4", cot=nan, images=None, note=nan, system=nan), record(id=2, images=[]),
          record(id=3, images="a.png"), record(id=4, image=None, images=["a.png", "b.png"]))  # fmt: skip
    records = read_records(folder)
    assert records.problems == ()
    first, second, third, fourth = records.examples
    assert (first.answer, first.cot, first.system) == ("4", None, None)
    assert len(first.images) == len(second.images) == len(third.images) == 1 and len(fourth.images) == 2


@pytest.mark.parametrize("text", ["None", "null", "infinity", "Nan", "0", "n/a"])
def test_words_that_may_be_meant_are_answers(folder, text):
    assert read_records(write(folder, record(answer=text))).examples[0].answer == text


def test_a_key_that_stands_twice_is_listed(folder):
    """The last one would win, and nobody be told."""
    base = '"id": "r%d", "image": [], "problem": "?"'
    ends = ('"answer": "5"', '"x": {"y": [{"z": 1, "z": 1}]}', '"y": 1')
    rows = [f'{{{base % number}, "answer": "4", {end}}}' for number, end in enumerate(ends, 1)]
    (folder / "records.json").write_text(f"[{','.join(rows)}]")
    records = read_records(folder)
    assert [e.id for e in records.examples] == ["r3"]
    assert [(p.kind, p.record) for p in records.problems] == [
        ("repeated key", "record 0 (id 'r1')"), ("repeated key", "record 1 (id 'r2')")
    ]  # fmt: skip
    assert "has the key 'answer' twice" in str(records.problems[0]) and "'z' twice" in str(records.problems[1])


def test_strict_lists_everything_at_once(folder):
    write(folder, record(image="x.png", answer=""), record(id="two", problem=5))
    (folder / "other.json").write_text('[{"id": 1,]')
    with pytest.raises(RecordError) as error:
        read_records(folder, strict=True)
    text = str(error.value)
    assert text.startswith("4 problems in ")
    for words in ("other.json: not valid JSON at line 1", "record 0 (id 'r1'): answer is empty",
                  "record 0 (id 'r1'): image 'x.png'", "record 1 (id 'two'): problem is a number"):  # fmt: skip
        assert words in text


def test_files_in_name_order_ids_unique_over_all_of_them(folder):
    write(folder, record(id="b"), record(id="same"), name="b.json")
    write(folder, record(id="a"), record(id="same"), name="a.json")
    records = read_records(folder)
    assert [e.id for e in records.examples] == ["a", "same", "b"]
    assert "b.json, record 1 (id 'same'): id is already used by a.json, record 1" in records.report()


def test_image_root(folder, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("pictures")
    Image.new("RGB", (4, 3)).save(elsewhere / "far.png")
    write(folder, record(image="far.png"))
    with pytest.raises(RecordError, match="no usable record"):
        read_records(folder)
    assert read_records(folder, image_root=elsewhere).examples[0].images == (str(elsewhere / "far.png"),)
    monkeypatch.setenv("HOME", str(elsewhere.parent))
    assert read_records(folder, image_root=f"~/{elsewhere.name}").problems == ()
    with pytest.raises(FileNotFoundError, match="image root"):
        read_records(folder, image_root="nowhere")


def test_folders_that_hold_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_records(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no \*.json"):
        read_records(tmp_path)
    (tmp_path / "records.json").write_text('{"id": "r1"}')
    with pytest.raises(RecordError, match="an object where a list of records belongs"):
        read_records(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not valid JSON at line 1, column 1"),
        ('[{"id": 1}]'.encode("utf-16"), "not UTF-8 but UTF-16"),
        ('[{"id": 1}]'.encode("utf-16-be"), "not UTF-8 but UTF-16"),
        (b'[{"answer": 1e-99999999999999999999}]', "not JSON that can be read"),
        (gzip.compress(b"[]", mtime=0), "not JSON but compressed: unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "not the file but git-lfs's note about it"),
        (b'["\xff"]', "not UTF-8 text at byte 2"),
        (b"[" * 50_000, "not JSON that can be read"),
        (b'[{"id": %s}]' % (b"1" * 5000), "not JSON that can be read"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_skipped(folder, text, words):
    write(folder, record(), name="good.json")
    (folder / "bad.json").mkdir() if text is None else (folder / "bad.json").write_bytes(text)
    (problem,) = read_records(folder).problems
    assert (problem.file, problem.kind) == ("bad.json", "bad JSON")
    assert problem.message.startswith(words) and problem.message.endswith("; correct or remove the file")


def test_long_reports_are_cut(folder):
    for number in range(15):
        empty = [record(id=f"x{number}{letter}", answer="") for letter in "ab"]
        write(folder, record(id=f"y{number}"), *empty, name=f"{number:02}.json")
    report = read_records(folder).report(limit=2)
    assert "30 skipped (empty answer: 30)" in report and report.endswith("... and 26 more")
    assert len(report.splitlines()) == 4


def test_records_with_the_same_problem_are_one_line(folder):
    report = read_records(write(folder, record(), *[record(id=f"x{i}", answer="") for i in range(30)])).report()
    (line,) = report.splitlines()[1:]
    assert "'x0'" in line and "'x2') and 27 more: " in line
