"""Configs that earlier versions stored, in the fields of this one."""

from typing import Any

from rrft_jax.config.defaults import base_config


def upgrade(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored config (plain JSON values) with the fields that it does not know yet at their defaults, which are what
    the earlier version did; groups that a user names (rewards, stage 1) likewise."""
    full = _filled(stored, base_config().to_dict())
    if isinstance(stored.get("stage1"), dict) and stored["stage1"]:
        full["stage1"] = upgrade(stored["stage1"])
    return full


def _filled(stored: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    missing = {name: value for name, value in defaults.items() if name not in stored}
    inner = {
        name: _filled(value, defaults[name])
        for name, value in stored.items()
        if isinstance(value, dict) and isinstance(defaults.get(name), dict)
    }
    return {**stored, **inner, **missing}
