"""examples/quickstart.ipynb runs from its first to its last cell, in a kernel, with short settings."""

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "examples" / "quickstart.ipynb"


def test_it_is_small_and_leaves_no_paths_of_a_machine():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 300_000
    outputs = [output for cell in json.loads(text)["cells"] for output in cell.get("outputs", ())]
    assert not any("/home/" in str(output) or "/tmp/" in str(output) for output in outputs)
    assert not any(output["output_type"] == "error" for output in outputs)


@pytest.mark.slow
def test_every_cell_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("QUICKSTART_SHORT", "1")
    monkeypatch.setenv("QUICKSTART_WORKDIR", str(tmp_path / "run"))
    monkeypatch.setenv("QUICKSTART_CACHE", str(tmp_path / "programs"))
    # Most of the time would go into making programs fast that run once.
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(NOTEBOOK.parents[1]), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, 4)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    said = ["".join(out.get("text", "") for out in cell.outputs) for cell in cells]
    assert said[2].count("format") == 2 and "right on this question" in said[-2] and "at step 2" in said[-1]
    assert any("image/png" in out.get("data", {}) for cell in cells for out in cell.outputs)
