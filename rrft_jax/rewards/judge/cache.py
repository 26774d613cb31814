"""Replies on disk by a digest of what was asked: a resume, another seed or another run asks nothing twice."""

import json
from collections.abc import Sequence
from pathlib import Path

from rrft_jax.files import write_atomic
from rrft_jax.rewards.judge.conversation import Ask, Conversation


def cached(ask: Ask, model: str, folder: str | Path) -> Ask:
    """The same, with replies kept in `folder`, a small file each, and equal conversations asked once.

    model: what the digest says beside the words. What brought no reply is not kept.
    """
    folder = Path(folder).expanduser()

    def asked(conversations: Sequence[Conversation]) -> list[tuple[str | None, str]]:
        names = [each.digest(model) for each in conversations]
        known: dict[str, tuple[str | None, str]] = {}
        waiting: dict[str, Conversation] = {}
        for name, each in zip(names, conversations, strict=True):
            if name in known or name in waiting:
                continue
            reply = _read(folder / name[:2] / f"{name}.json")
            if reply is None:
                waiting[name] = each
            else:
                known[name] = reply, ""
        for name, answer in zip(waiting, ask(list(waiting.values())) if waiting else (), strict=True):
            known[name] = answer
            if answer[0] is not None:
                place = folder / name[:2]
                place.mkdir(parents=True, exist_ok=True)
                write_atomic(place / f"{name}.json", json.dumps({"reply": answer[0]}).encode())
        return [known[name] for name in names]

    return asked


def _read(path: Path) -> str | None:
    try:
        reply = json.loads(path.read_bytes())["reply"]
    except (OSError, ValueError, KeyError, TypeError):  # not there, or damaged: it is asked again
        return None
    return reply if isinstance(reply, str) else None
