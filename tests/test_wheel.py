"""What `pip install` of a wheel gives: programs, configs and nano, from a folder that is not the checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from rrft_jax.config.command_line import with_config_files
from rrft_jax.programs import folder_of

ROOT = Path(__file__).parents[1]
OPTIONS = (
    "--config.train.steps=1", "--config.train.prompts=2", "--config.train.micro_batches=1", "--config.rollout.group=2",
    "--config.rollout.max_completion_length=8", "--config.eval.examples=2", "--config.eval.batch=2",
)  # fmt: skip


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


@pytest.mark.slow
def test_a_run_from_an_installed_wheel(tmp_path):
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    made = subprocess.run(build, capture_output=True, text=True, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"rrft_jax/configs/grpo_counting.py", "rrft_jax/launch/train.py", "rrft_jax/assets/nano/config.json",
            "rrft_jax/assets/report/page.html"} <= set(names)  # fmt: skip
    venv.create(tmp_path / "venv", with_pip=False)
    lib = next((tmp_path / "venv" / "lib").glob("python*")) / "site-packages"
    zipfile.ZipFile(wheel).extractall(lib)
    # Of the environment that tests run in come the dependencies alone: this installation goes before an editable one.
    (lib / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    start = "import sys; from rrft_jax.programs import train; sys.argv[0] = 'rrft-train'; train()"
    away = tmp_path / "elsewhere"
    away.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"JAX_PLATFORMS": "cpu"}
    command = [str(tmp_path / "venv" / "bin" / "python"), "-c", start, "--config=grpo_counting:runlocal", *OPTIONS]
    done = subprocess.run(
        [*command, "--workdir=run"], cwd=away, env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (away / "run" / "DONE").exists() and (away / "run" / "hf" / "model.safetensors").exists()
    assert str(ROOT) not in done.stdout + done.stderr
