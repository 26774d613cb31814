"""A checkpoint or a mesh that cannot be used ends a start at once: one line with the file or setting and the remedy."""

import json
import shutil
import subprocess
import sys

import pytest

from rrft_jax.config.command_line import load_config
from rrft_jax.models.files import INDEX, SINGLE
from rrft_jax.models.weights import load_params, save_params
from rrft_jax.pretrained import ASSETS, load_parts
from rrft_jax.training.loop import train
from tests.training import runs


@pytest.fixture
def base(tmp_path):
    shutil.copytree(ASSETS / "nano", tmp_path / "base")
    return tmp_path / "base"


def cut_off(base):
    path = base / SINGLE
    path.write_bytes(path.read_bytes()[:-1000])
    return path, "damaged safetensors file"


def overwritten(base):
    path = base / SINGLE
    path.write_bytes(b"\xff" * 16 + path.read_bytes()[16:])
    return path, "damaged safetensors file"


def without_a_shard(base):
    model, _ = load_parts(base, "float32")
    save_params(base, model.config, load_params(base), shard_bytes=2**20)
    lost = sorted(base.glob("model-*.safetensors"))[1]
    lost.unlink()
    return base / INDEX, lost.name


def of_another_architecture(base):
    path = base / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "llava"}))
    return path, "model_type is 'llava'"


@pytest.mark.parametrize(
    ("damage", "remedy"),
    [
        (cut_off, "download it again"),
        (overwritten, "download it again"),
        (without_a_shard, "download them again"),
        (of_another_architecture, "give the directory of one of these"),
    ],
)
def test_one_line_with_file_and_remedy(base, tmp_path, damage, remedy):
    file, what = damage(base)
    config = load_config(f"{runs.GRPO},init={base}")
    with pytest.raises((ValueError, OSError)) as error:
        train(config, tmp_path / "run")
    text = str(error.value)
    assert "\n" not in text and all(part in text for part in (str(file), what, remedy)), text
    assert not (tmp_path / "run" / "config.json").exists()  # the corrected command may use the same workdir


def test_a_mesh_larger_than_the_machine(tmp_path):
    command = [sys.executable, "launch/train.py", f"--config={runs.GRPO}", f"--workdir={tmp_path / 'run'}"]
    environment = runs.Launcher(tmp_path / "cache").environment() | {"JAX_LOG_COMPILES": "0"}
    command += ["--config.mesh.data=1", "--config.mesh.fsdp=64"]
    done = subprocess.run(command, cwd=runs.ROOT, env=environment, capture_output=True, text=True, timeout=runs.LIMIT_S)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: mesh data=1 x fsdp=64 x tensor=1 needs 64 devices, but there are ")
    assert "change config.mesh" in line and not (tmp_path / "run" / "config.json").exists()
