"""Which family a model is of: the `model_type` of its config.json, among our own and those of installed packages.

A package adds a family by an entry point of the group `rrft_jax.models`, named as its model_type, at a `Family`.
"""

import functools
from importlib.metadata import entry_points
from pathlib import Path

from rrft_jax.doors import resolve
from rrft_jax.files import read_json_object
from rrft_jax.models.protocol import Family, Model, Sizes

GROUP = "rrft_jax.models"
FAMILIES = {  # model_type -> where it is, loaded when asked for
    "qwen2_vl": "rrft_jax.models.qwen2_vl.family:FAMILY",
    "qwen2_5_vl": "rrft_jax.models.qwen2_5_vl.family:FAMILY",
    "qwen3_vl": "rrft_jax.models.qwen3_vl.family:FAMILY",
}


# What people have and this code does not read -> what to do.
_REFUSED = {
    "qwen3_vl_moe": "a mixture of experts, and only dense models are read: give the directory of a dense Qwen3-VL",
    "qwen3_vl_moe_text": "a mixture of experts, and only dense models are read: give the directory of a dense Qwen3-VL",
    "qwen2_vl_text": "a decoder without its vision tower: give the directory of the whole Qwen2-VL",
    "qwen2_5_vl_text": "a decoder without its vision tower: give the directory of the whole Qwen2.5-VL",
    "qwen3_vl_text": "a decoder without its vision tower: give the directory of the whole Qwen3-VL",
    "qwen2_5_omni": "an Omni model: give the directory of a Qwen2.5-VL",
    "qwen2_5_omni_thinker": "a part of an Omni model: give the directory of a Qwen2.5-VL",
    "qwen3_omni_moe": "an Omni model: give the directory of a dense Qwen3-VL",
}


def family_of(sizes: Sizes) -> Family:
    """The family of a model of these sizes."""
    return family_named(sizes.model_type)


def family_named(model_type: object, where: str = "model_type") -> Family:
    """The family of this model_type, which stands at `where`. ValueError where there is none or it cannot be loaded."""
    if isinstance(model_type, str) and model_type in FAMILIES:
        return resolve(FAMILIES[model_type], {}, "family", where)
    if isinstance(model_type, str) and model_type in _REFUSED:
        raise ValueError(f"{where} is {model_type!r}, {_REFUSED[model_type]}")
    # Never the object that such a name would point to: a config.json that someone sends runs no code of its own.
    others = sorted({point.name for point in entry_points(group=GROUP)})
    if not isinstance(model_type, str) or model_type not in others:
        known = ", ".join(repr(name) for name in (*FAMILIES, *others))
        raise ValueError(
            f"{where} is {model_type!r}, this code reads {known}: give the directory of one of these (an installed "
            f"package adds its own by an entry point of the group {GROUP})"
        )
    return _installed(model_type)


@functools.cache
def _installed(model_type: str) -> Family:
    family = resolve(model_type, {}, "family", GROUP, GROUP)
    if not isinstance(family, Family):
        raise ValueError(f"the entry point {model_type} of the group {GROUP} is a {type(family).__name__}, no Family")
    return family


def make_model(sizes: Sizes, dtype: str = "float32", remat: str = "none", attention: str = "xla") -> Model:
    """A model of these sizes. dtype, remat, attention: see `language.check_settings`."""
    return family_of(sizes).make_model(sizes, dtype, remat, attention)


def sizes_from_dict(raw: dict, path: Path = Path("config.json")) -> Sizes:
    """The sizes that the object of a config.json describes. ValueError names the file and the field."""
    if not isinstance(raw, dict):
        raise ValueError(f"{path}: holds no JSON object; get the model's config.json again")
    family = family_named(raw.get("model_type"), f"{path}: model_type")
    try:
        return family.read_sizes(raw, path)
    except ValueError as error:  # sizes that contradict each other do not know where they come from
        bare, text = "config.json: ", str(error)
        raise ValueError(f"{path}: {text.removeprefix(bare)}" if text.startswith(bare) else text) from None


def read_config(directory: str | Path) -> Sizes:
    """The sizes of a HuggingFace directory. Raises FileNotFoundError / ValueError naming the file."""
    path = Path(directory) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found: {directory} is not a HuggingFace model directory")
    return read_config_file(path)


def read_config_file(path: Path) -> Sizes:
    """As `read_config`, of a file of any name."""
    return sizes_from_dict(read_json_object(path, "give the config.json of a model"), path)
