"""Local folders in the layouts of the hub, read through `datasets`; their pictures and columns."""

import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from rrft_jax.data.decoding import open_image
from rrft_jax.data.folder import read_folder
from rrft_jax.data.sources.hub import as_record, check_columns, read_hub


def png(shade):
    out = BytesIO()
    Image.fromarray(np.full((6, 9, 3), shade, np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def geometry(tmp_path, monkeypatch):
    """A folder laid out as hiyouga/geometry3k: data/SPLIT-00000-of-00001.parquet with images, problem, answer."""
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set" / "data").mkdir(parents=True)
    features = datasets.Features({
        "images": datasets.Sequence(datasets.Image()), "problem": datasets.Value("string"),
        "answer": datasets.Value("string"),
    })  # fmt: skip
    for split, count in (("train", 3), ("test", 2)):
        rows = [
            {"images": [{"bytes": png(10 * k), "path": None}], "problem": f"<image>Find x of {k}.", "answer": str(k)}
            for k in range(count)
        ]
        made = datasets.Dataset.from_list(rows, features=features)
        made.to_parquet(tmp_path / "set" / "data" / f"{split}-00000-of-00001.parquet")
    return tmp_path / "set"


def test_a_folder_of_the_hubs_layout(geometry):
    records = read_folder(f"hf:{geometry}@train", "vqa")
    assert [(e.id, e.problem, e.answer) for e in records.examples] == [
        (f"set-train-{k:06d}", f"Find x of {k}.", str(k)) for k in range(3)
    ]
    assert [np.asarray(open_image(e.images[0]))[0, 0, 0] for e in records.examples] == [0, 10, 20]
    assert len(read_folder(f"hf:{geometry}", "vqa").examples) == 3, "training reads the training split"
    assert len(read_folder(f"hf:{geometry}", "vqa", "test").examples) == 2
    with pytest.raises(ValueError, match="it has the splits train, test; name one, as in hf:.*@train"):
        read_folder(f"hf:{geometry}@dev", "vqa")
    with pytest.raises(ValueError, match="name two splits"):
        read_folder(f"hf:{geometry}@train", "vqa", "test")
    with pytest.raises(ValueError, match="not streamed, since the order of records is a function"):
        read_folder(f"hf:{geometry}@train:streaming", "vqa")
    with pytest.raises(ValueError, match="no such column; there are images, problem, answer"):
        read_folder(f"hf:{geometry}@train", "vqa", columns=("problem=query",))


def test_columns_of_other_names_and_messages(geometry, tmp_path):
    lines = [{"query": "how many?", "target": 3, "extra": "kept"}, {"query": "and here?", "target": 4, "extra": ""}]
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read_folder(f"hf:{tmp_path / 'own'}", "vqa", columns=("answer=target",)).examples
    assert [(e.problem, e.answer, e.images) for e in found] == [("how many?", "3", ()), ("and here?", "4", ())]
    assert found[0].metadata["extra"] == "kept"
    turns = [{"role": "user", "content": "how many?"}, {"role": "assistant", "content": "5"}]
    (tmp_path / "talk").mkdir()
    (tmp_path / "talk" / "train.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    (one,) = read_folder(f"hf:{tmp_path / 'talk'}", "vqa").examples
    assert (one.problem, one.answer) == ("how many?", "5")


def test_what_needs_no_package(tmp_path, monkeypatch):
    assert check_columns(("problem=query", "answer=label")) == {"problem": "query", "answer": "label"}
    with pytest.raises(ValueError, match="give FIELD=COLUMN"):
        check_columns(("query",))
    assert as_record({"question": "q", "solution": "s", "image": b"x"}, {}, "set", 7) == {
        "id": "set-000007", "problem": "q", "answer": "s", "image": b"x",
    }  # fmt: skip
    lines = [{"id": 1, "query": "q", "problem": "other", "answer": "s", "image": []}, {"id": 2, "problem": "q"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    records = read_folder(tmp_path, "vqa", columns=("problem=query",))
    assert [(e.id, e.problem) for e in records.examples] == [("1", "q")]
    assert "problem=query: there is no such column; there are id, problem" in str(records.problems[0])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs the package datasets: pip install datasets$"):
        read_hub("hf:some/set@train", "vqa", "", False, (), lambda there: None)
