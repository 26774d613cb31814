"""The settings of every judge (rubric, demonstrations, limits), and the protocol of a judge's back end."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rrft_jax.rewards.judge.demonstrations import Demonstration, chosen_demonstrations
from rrft_jax.rewards.judge.judging import Judge
from rrft_jax.rewards.judge.rubric import Rubric, read_rubric


@dataclass(frozen=True)
class JudgeSettings:
    """max_tokens: of a reply. cache: the folder of replies, which judges may share; "": memory alone."""

    rubric: Rubric
    demonstrations: tuple[Demonstration, ...]
    max_tokens: int
    both_orders: bool = True
    cache: str = ""


def read_settings(
    kind: str, rubric: str = "", demonstrations: str = "", k: int = 6, max_tokens: int = 256, both_orders: bool = True,
    cache: str = "", field: str = "",
) -> JudgeSettings:  # fmt: skip
    """Reads the files. field: what stands in front of the options' names in errors. ValueError for one that cannot be
    used."""
    if max_tokens < 1:
        raise ValueError(f"{field}max_tokens={max_tokens} must be positive")
    read = read_rubric(rubric, kind)
    return JudgeSettings(read, chosen_demonstrations(demonstrations, k, read), max_tokens, both_orders, cache)


@runtime_checkable
class Connection(Protocol):
    """A judge within one event loop, in which it is made; kept for a whole run."""

    name: str  # for errors

    def judge(self) -> Judge:
        """The judge for one round of requests."""
        ...

    async def close(self) -> None: ...
