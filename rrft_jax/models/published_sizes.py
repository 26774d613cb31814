"""Published models by a short name, with their config.json and without weights: enough to plan and to compile."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

# Name -> the directory that has the weights.
SIZES: Mapping[str, str] = MappingProxyType({
    "2b": "Qwen2-VL-2B", "7b": "Qwen2-VL-7B",
    "qwen2.5-vl-3b": "Qwen2.5-VL-3B", "qwen2.5-vl-7b": "Qwen2.5-VL-7B", "qwen2.5-vl-32b": "Qwen2.5-VL-32B",
    "qwen2.5-vl-72b": "Qwen2.5-VL-72B", "qwen3-vl-2b": "Qwen3-VL-2B", "qwen3-vl-4b": "Qwen3-VL-4B",
    "qwen3-vl-8b": "Qwen3-VL-8B", "qwen3-vl-32b": "Qwen3-VL-32B",
})  # fmt: skip


def size_file(name: str) -> Path:
    """The config.json of a name in SIZES."""
    return Path(__file__).parents[1] / "assets" / "sizes" / f"{name}.json"
