"""The toy family of tests/models/toy_family.py as a user would have it: an installed package, and a model directory."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import pytest

from rrft_jax.models.registry import make_model, read_config, sizes_from_dict
from rrft_jax.models.weights import save_params
from rrft_jax.pretrained import ASSETS

NANO = ASSETS / "nano"
MODULE = Path(__file__).parents[1] / "models" / "toy_family.py"


def install(site: Path, name: str, target: str) -> None:
    """An installed package is, to Python, its modules and a folder of metadata on the path."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[rrft_jax.models]\n{name} = {target}\n")


@contextmanager
def installed_toy(folder: Path) -> Iterator[tuple[Path, Path]]:
    """(folder of the package, HuggingFace directory with random weights and nano's tokenizer); the package can be
    imported while the context lasts."""
    site, out = folder / "site", folder / "model"
    install(site, "toy_vl", "toy_family:FAMILY")
    shutil.copy(MODULE, site)
    out.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        shutil.copy(NANO / name, out)
    images = json.loads((NANO / "preprocessor_config.json").read_text())
    images |= {"patch_size": 16, "merge_size": 1, "temporal_patch_size": 1}
    (out / "preprocessor_config.json").write_text(json.dumps(images))
    nano = read_config(NANO)
    toy = {
        "vocab_size": nano.vocab_size, "hidden_size": 32, "num_layers": 2, "num_heads": 2,
        "eos_token_id": nano.eos_token_id, "pad_token_id": nano.pad_token_id,
        "special": [nano.image_token_id, nano.video_token_id, nano.vision_start_token_id, nano.vision_end_token_id],
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        sizes = sizes_from_dict({"model_type": "toy_vl", "toy": toy})
        save_params(out, sizes, make_model(sizes).init_params(jax.random.key(0)), "float32")
        yield site, out
