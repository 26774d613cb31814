"""The model that a run holds in memory and never changes, lent to rewards: a judge needs no weights of its own.

With LoRA it is the base of the policy; without LoRA the reference of the KL penalty. A borrower may lay an adapter of
its own over it, a few small arrays next to kernels that stay where they are.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from rrft_jax.models import adapter as peft
from rrft_jax.models.files import values_digest
from rrft_jax.models.lora import is_adapter
from rrft_jax.models.paths import from_paths, leaf_paths
from rrft_jax.models.protocol import Model
from rrft_jax.models.registry import family_of
from rrft_jax.models.weights import tensor_names
from rrft_jax.pretrained import resolve_init
from rrft_jax.processing.processor import Processor, measure
from rrft_jax.remote.endpoint import Decoding
from rrft_jax.rollout.answering import make_answerer
from rrft_jax.rollout.questions import Answerer, Question
from rrft_jax.training.parameters import Weights, place


@dataclass(frozen=True)
class FrozenBase:
    """params: all of a model's own parameters on the mesh, no adapter's. directory: where they were read."""

    model: Model
    processor: Processor
    mesh: Mesh
    params: dict
    directory: Path
    _adapters: dict[str, dict] = field(default_factory=dict, repr=False, compare=False)
    _answerers: dict[tuple, Answerer] = field(default_factory=dict, repr=False, compare=False)
    _one: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def check(self, adapter: str = "") -> None:
        """Reads the adapter, whose arrays stay. ValueError or OSError where it is none, or another base's."""
        _check_alone()
        if adapter and adapter not in self._adapters:
            leaves = peft.read_adapter(adapter, self.model.config, self.directory)
            on_mesh = place(from_paths(dict(leaves)), self.mesh, family_of(self.model.config).param_axes)
            self._adapters[adapter] = leaf_paths(on_mesh)

    def identity(self, adapter: str = "") -> str:
        """What the replies depend on: digests of the base and of the adapter's files, the dtypes of products and
        arrays."""
        base = values_digest(self.directory, tensor_names(self.model.config))
        kept = sorted({leaf.dtype.name for leaf in jax.tree.leaves(self.params)})
        own = f"+{peft.files_digest(adapter)}" if adapter else ""
        return f"{base}{own} {self.model.compute_dtype} {','.join(kept)}"

    def lent(self, adapter: str = "") -> dict:
        """The parameters with the adapter's leaves: a new tree over the same arrays."""
        self.check(adapter)
        return from_paths({**leaf_paths(self.params), **self._adapters.get(adapter, {})})

    def replies(
        self,
        chats: Sequence[Sequence[Mapping[str, str]]],
        max_tokens: int,
        adapter: str = "",
        rows: int = 8,
        tell: Callable[[int, str | ValueError], None] = lambda number, reply: None,
    ) -> list[str | ValueError]:
        """The reply to each chat; an error for one that leaves no room for it.

        A chat is a list of {"role", "content"}: perhaps a system's turn, then user and assistant in turn, the user
        last. Replies are decoded greedily, `rows` chats at a time, and do not depend on the other chats.
        tell(number, reply) is called as soon as one is there. Any thread may call; calls wait for one another.
        """
        longest = self.model.config.max_position_embeddings - max_tokens
        found: dict[int, str | ValueError] = {}

        def give(number: int, reply: str | ValueError) -> None:
            found[number] = reply
            tell(number, reply)

        fitting = []
        for number, chat in enumerate(chats):
            question = to_question(chat, number)
            size = measure(self.processor, question.text, (), question.system, question.history)
            if size.prompt_tokens <= longest:
                fitting.append(question)
                continue
            needed = f"{size.prompt_tokens} prompt tokens and {max_tokens} new ones"
            give(number, ValueError(f"{needed} exceed the model's {longest + max_tokens} positions"))
        with self._one, jax.set_mesh(self.mesh):  # of a thread: the caller's may be another
            for reply in self._answerer(max_tokens, adapter, rows)(fitting):
                give(int(reply.id), reply.texts[0])
        return [found[number] for number in range(len(chats))]

    def _answerer(self, max_tokens: int, adapter: str, rows: int) -> Answerer:
        key = max_tokens, adapter, rows
        if key not in self._answerers:
            decoding = Decoding(max_new_tokens=max_tokens)
            self._answerers[key] = make_answerer(
                self.model, self.lent(adapter), self.processor, self.mesh, decoding, rows, compact=0
            )
        return self._answerers[key]


@dataclass(frozen=True)
class PlannedBase:
    """What can be said of a run's base before it is there. has_reference: whether the loss reads the reference."""

    config: ConfigDict
    has_reference: bool

    def check(self, adapter: str = "") -> None:
        """ValueError or OSError where the run will have no base to lend, or the adapter's files cannot be read."""
        _check_alone()
        if not self.config.lora.rank and not self.has_reference:
            raise ValueError(
                "every parameter is trained and there is no reference, so nothing in memory stays as it is: set "
                "config.lora.rank, or a KL penalty"
            )
        if peft.is_adapter_directory(source := _source(self.config)):
            raise ValueError(f"the base would be the adapter {source} merged: export it and give that directory")
        if adapter:
            peft.check_files(adapter)


def frozen_base(
    config: ConfigDict, model: Model, processor: Processor, mesh: Mesh, weights: Weights
) -> FrozenBase | PlannedBase:
    """What the run can lend of `weights`; where that is nothing, an object whose `check` says why."""
    own = {path: leaf for path, leaf in leaf_paths(weights.frozen).items() if not is_adapter(path)}
    params = from_paths(own) if config.lora.rank else weights.reference
    if params is None or peft.is_adapter_directory(_source(config)):
        return PlannedBase(config, params is not None)
    return FrozenBase(model, processor, mesh, params, resolve_init(_source(config)))


def to_question(chat: Sequence[Mapping[str, str]], number: int) -> Question:
    """A chat as a question. ValueError where its turns are not those of a chat that waits for the assistant."""
    turns = [(turn["role"], turn["content"]) for turn in chat]
    system = turns.pop(0)[1] if turns and turns[0][0] == "system" else None
    if [role for role, _ in turns] != (["user", "assistant"] * len(turns))[: len(turns)] or len(turns) % 2 == 0:
        raise ValueError("a chat has user and assistant in turn, perhaps behind the system, and ends with the user")
    return Question(str(number), number, turns[-1][1], (), system, tuple(turns[:-1]))


def _source(config: ConfigDict) -> str:
    """Where the arrays that stay come from."""
    return config.init if config.lora.rank else config.reference or config.init


def _check_alone() -> None:
    if jax.process_count() > 1:
        raise ValueError(
            f"each of {jax.process_count()} processes would ask the base about texts of its own, and answering takes "
            "all of them: serve it (launch/serve.py), or train in one process"
        )
