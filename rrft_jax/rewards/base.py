"""What a reward may ask of the frozen model that a run holds: the parameter `base` of a reward receives it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

Chat = Sequence[Mapping[str, str]]  # {"role", "content"}: perhaps a system's, user and assistant in turn, the user last


@dataclass(frozen=True)
class Loan:
    """What a reward will ask of a base at a time, for the plan of memory: rows chats, each of `characters` and of a
    question with `texts` completions to it; replies of max_tokens."""

    rows: int
    characters: int
    texts: int
    max_tokens: int
    adapter: str = ""


@runtime_checkable
class Planned(Protocol):
    """What a config says of a base, before anything is loaded."""

    def check(self, adapter: str = "") -> None:
        """ValueError or OSError where nothing can be lent, or the adapter does not fit."""


@runtime_checkable
class Base(Planned, Protocol):
    """The policy's base under LoRA, else the reference of the KL penalty. adapter: the folder of a LoRA adapter of it,
    in PEFT's format, whose arrays are laid over the base without a copy of it; "": the base as it is."""

    def identity(self, adapter: str = "") -> str:
        """A digest of the weights that answer."""
        ...

    def replies(
        self,
        chats: Sequence[Chat],
        max_tokens: int,
        adapter: str = "",
        rows: int = 8,
        tell: Callable[[int, str | ValueError], None] = lambda number, reply: None,
    ) -> list[str | ValueError]:
        """The greedy reply to each chat, `rows` of them at a time, which does not depend on the others; an error for a
        chat that leaves no room for it. tell(number, reply): called as soon as one is there."""
        ...
