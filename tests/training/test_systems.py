"""Each recipe of the other systems trains, evaluates its own metrics and writes its examples out: real, tiny runs."""

import pytest

from rrft_jax.run.metrics import read_metrics
from tests.training import runs

RECIPES = {
    "visual_rft.py:detection": ("detection_iou", "mAP"),
    "visual_rft.py:classification": ("class_name", "accuracy_of_classes"),
    "visual_rft.py:grounding": ("grounding_giou", "gIoU"), "ui_venus.py:screen": ("in_box", "action_acc"),
    "ui_venus.py:navigation": ("action_type", "step_success"), "roborefer.py:referring": ("steps_accuracy", "mask"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_runs(recipe, launcher, tmp_path):
    reward, metric = RECIPES[recipe]
    workdir = tmp_path / "run"
    options = (*runs.TINY, "--config.train.steps=2", "--config.eval.every=2", "--config.train.prompts=2")
    launcher.run(workdir, *options, config=f"configs/{recipe},runlocal")
    rows = list(read_metrics(workdir))
    assert [row["step"] for row in rows if f"rewards/{reward}/mean" in row][-1] == 2
    assert any(f"eval/{metric}" in row for row in rows)
