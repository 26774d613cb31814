"""What is installed finds its programs and configs by name."""

from rrft_jax.config.command_line import with_config_files
from rrft_jax.programs import folder_of


def test_a_config_is_found_by_its_name_and_a_file_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = str(folder_of("configs") / "grpo_counting.py")
    argv = ["rrft-train", "--config=grpo_counting:runlocal", "--config.train.steps=3"]
    assert with_config_files(argv) == ["rrft-train", f"--config={file}:runlocal", "--config.train.steps=3"]
    assert with_config_files(["x", "--config", "grpo_counting.py"]) == ["x", "--config", file]
    assert with_config_files(["x", "--config=configs/grpo_counting.py"]) == ["x", f"--config={file}"]
    for other in ("nothing_like_it", "mine/grpo_counting.py", ""):
        assert with_config_files(["x", f"--config={other}"]) == ["x", f"--config={other}"]
    (tmp_path / "grpo_counting.py").touch()
    assert with_config_files(["x", "--config=grpo_counting.py"]) == ["x", "--config=grpo_counting.py"]
