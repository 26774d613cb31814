"""What `pip install` of a wheel gives: programs, configs and nano, from a folder that is not the checkout."""

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

from tests.training import runs


@pytest.mark.slow
def test_a_run_from_an_installed_wheel(launcher, tmp_path):
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(runs.ROOT)]
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
    environment = {k: v for k, v in launcher.environment().items() if k != "PYTHONPATH"}
    python, log = tmp_path / "venv" / "bin" / "python", tmp_path / "run.log"
    command = [str(python), "-c", start, "--config=grpo_counting:runlocal", *runs.TINY, "--config.train.steps=1"]
    with open(log, "wb") as out:
        done = subprocess.run(
            [*command, "--workdir=run"], cwd=away, env=environment, stdout=out, stderr=out, timeout=runs.LIMIT_S
        )
    assert done.returncode == 0, log.read_text()[-3000:]
    assert (away / "run" / "DONE").exists() and (away / "run" / "hf" / "model.safetensors").exists()
    assert json.loads((away / "run" / "versions.json").read_text())["git"] is None, "the code was the checkout's"
