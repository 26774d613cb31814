"""The verdicts of a judge as a reward: a coroutine, since it waits for a server, or for the model in this process."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rrft_jax.remote.client import Trouble, import_openai
from rrft_jax.remote.endpoint import Endpoint
from rrft_jax.rewards.base import Base, Loan, Planned
from rrft_jax.rewards.judge.in_process import InProcess, InProcessJudge, in_process
from rrft_jax.rewards.judge.items import Item, Pair
from rrft_jax.rewards.judge.judging import Judge, Judgement
from rrft_jax.rewards.judge.messages import build_messages
from rrft_jax.rewards.judge.rubric import PAIRWISE, POINTWISE
from rrft_jax.rewards.judge.served import Served, ServedJudge, served
from rrft_jax.rewards.judge.settings import Connection, read_settings
from rrft_jax.rewards.values import SetupError, Values, reason

if TYPE_CHECKING:
    from rrft_jax.data.example import Example

_FIELD = "config.reward_options.llm_judge."
ENDPOINT, IN_PROCESS = "endpoint", "in_process"
# Options that say how a server is reached, with the values that say nothing.
_OF_ENDPOINT = {
    "url": "", "model": "", "api_key_env": "", "timeout": 30.0, "attempts": 3, "requests_per_minute": 0.0, "give_up": 8,
    "max_tokens_name": "max_tokens", "leave_out": (),
}  # fmt: skip


class Judges:
    """The connections of a run, made by its first batch and used until it ends."""

    def __init__(self):
        self._made: dict[tuple, Connection] = {}

    def get(self, base: Planned | None, **options: Any) -> Connection:
        """The connection of these options of `llm_judge`; what files they name is read once."""
        key = tuple(options.values())
        if key not in self._made:
            chosen = _chosen(base, **options)
            self._made[key] = InProcessJudge(chosen) if isinstance(chosen, InProcess) else ServedJudge(chosen)
        return self._made[key]


async def llm_judge(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    judges: Judges,
    base: Base | None,
    backend: str = ENDPOINT,
    adapter: str = "",
    url: str = "",
    model: str = "",
    api_key_env: str = "",
    kind: str = POINTWISE,
    rubric: str = "",
    demonstrations: str = "",
    k: int = 6,
    reference: bool = True,
    baseline: str = "",
    both_orders: bool = True,
    cache: str = "",
    timeout: float = 30.0,
    attempts: int = 3,
    concurrency: int = 8,
    requests_per_minute: float = 0.0,
    give_up: int = 8,
    max_tokens: int = 256,
    max_tokens_name: str = "max_tokens",
    leave_out: tuple = (),
) -> Values:
    """A value in [0, 1] per completion; docs/judges.md has the options.

    kind "pointwise": (score - low) / (high - low) on the rubric's scale. "pairwise": 1, 0.5 or 0 for a win, a tie or a
    loss against a fixed response, the text of the record's field `baseline`, or its answer. A reply that holds no
    verdict earns 0 and is counted as unread: who confuses the judge gains nothing. Where no reply of a call holds one,
    the judge is broken: these, and requests that fail, are errors without a value.

    SetupError where nothing could be judged in the first step.
    """
    connection = judges.get(
        base, backend=backend, adapter=adapter, url=url, model=model, api_key_env=api_key_env, kind=kind,
        rubric=rubric, demonstrations=demonstrations, k=k, reference=reference, baseline=baseline,
        both_orders=both_orders, cache=cache, timeout=timeout, attempts=attempts, concurrency=concurrency,
        requests_per_minute=requests_per_minute, give_up=give_up, max_tokens=max_tokens,
        max_tokens_name=max_tokens_name, leave_out=tuple(leave_out),
    )  # fmt: skip
    judge = connection.judge()
    pairs = zip(completions, examples, strict=True)
    found = await asyncio.gather(*(_judged(judge, kind, text, each, reference, baseline) for text, each in pairs))
    return _values(found, step, connection.name)


def check_llm_judge(base: Planned | None = None, **options: Any) -> None:
    """Raises ValueError where these options cannot work, before a run starts. base: what the run could lend."""
    _chosen(base, **{**(llm_judge.__kwdefaults__ or {}), **options})


def loan(backend: str, kind: str, rubric: str, demonstrations: str, k: int, adapter: str, concurrency: int,
         max_tokens: int, **others: Any) -> Loan | None:  # fmt: skip
    """What a judge of these options of `llm_judge` asks of the run's base; None for a served one."""
    del others
    if backend != IN_PROCESS:
        return None
    given, pointwise = read_settings(kind, rubric, demonstrations, k, max_tokens), kind == POINTWISE
    empty = Item("", "", "") if pointwise else Pair("", "", "", "")
    messages = build_messages(empty, given.rubric, given.demonstrations)
    return Loan(concurrency, sum(len(m["content"]) for m in messages), 1 if pointwise else 2, max_tokens, adapter)


def _chosen(
    base: Planned | None, backend: str, adapter: str, kind: str, rubric: str, demonstrations: str, k: int,
    reference: bool, baseline: str, both_orders: bool, cache: str, concurrency: int, max_tokens: int, **reached: Any,
) -> Served | InProcess:  # fmt: skip
    """reached: the options of _OF_ENDPOINT."""
    if kind not in (POINTWISE, PAIRWISE):
        raise ValueError(f"{_FIELD}kind={kind!r}: choose {POINTWISE} or {PAIRWISE}")
    if backend not in (ENDPOINT, IN_PROCESS):
        raise ValueError(f"{_FIELD}backend={backend!r}: choose {ENDPOINT} or {IN_PROCESS}")
    if kind == POINTWISE and (baseline or not both_orders):
        option = f"baseline={baseline!r}" if baseline else "both_orders=False"
        raise ValueError(f"{_FIELD}{option} changes nothing for a {POINTWISE} judge: set kind={PAIRWISE}")
    if backend == IN_PROCESS:
        for option, value in reached.items():
            if (tuple(value) if option == "leave_out" else value) != _OF_ENDPOINT[option]:
                raise ValueError(f"{_FIELD}{option}={value!r} is about a server: set backend={ENDPOINT}")
        if base is None:
            raise ValueError(f"{_FIELD}backend={IN_PROCESS}: only a training holds a model that can be lent")
        given = read_settings(kind, rubric, demonstrations, k, max_tokens, both_orders, cache, _FIELD)
        return in_process(base, given, adapter, concurrency, _FIELD)
    if adapter:
        raise ValueError(f"{_FIELD}adapter={adapter!r} is for a judge in this process: set backend={IN_PROCESS}")
    return _served(kind, rubric, demonstrations, k, max_tokens, both_orders, cache, concurrency, **reached)


def _served(
    kind: str, rubric: str, demonstrations: str, k: int, max_tokens: int, both_orders: bool, cache: str,
    concurrency: int, url: str, model: str, api_key_env: str, timeout: float, attempts: int, requests_per_minute: float,
    give_up: int, max_tokens_name: str, leave_out: Sequence[str],
) -> Served:  # fmt: skip
    try:
        import_openai()
    except ImportError as error:
        raise ValueError(f"reward llm_judge: {error}") from None
    if not url:
        raise ValueError(f"{_FIELD}url: name the judge's server, such as http://127.0.0.1:8000/v1")
    try:
        endpoint = Endpoint(
            url, model, api_key_env or None, concurrency, float(requests_per_minute), float(timeout), attempts,
            longest_wait=10.0, give_up=give_up, leave_out=tuple(leave_out), max_tokens_name=max_tokens_name,
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"config.reward_options.llm_judge: {error}") from None
    given = read_settings(kind, rubric, demonstrations, k, max_tokens, both_orders, cache, _FIELD)
    return served(endpoint, given, _FIELD)


async def _judged(
    judge: Judge, kind: str, text: str, example: "Example", reference: bool, baseline: str
) -> Judgement | str:
    """The judgement of one completion, or why there is none."""
    prompt = "\n\n".join([*(f"{role}: {said}" for role, said in example.history), example.problem])
    try:
        if kind == POINTWISE:
            return await judge.score(Item(prompt, text, (example.answer or None) if reference else None))
        fields = {"cot": example.cot, **example.metadata}
        other = fields.get(baseline) if baseline else example.reply or example.answer
        if not isinstance(other, str) or not other:
            where = f"field {baseline!r}" if baseline else "answer"
            raise ValueError(f"example {example.id} has no text in its {where} to compare with")
        shown = example.answer if reference and baseline and example.answer else None
        return await judge.compare(Pair(prompt, text, other, shown))
    except Trouble as trouble:
        return f"judge: {trouble.why}"
    except Exception as error:  # a cache that cannot be written, a record without what is compared
        return reason(error)


def _values(found: Sequence[Judgement | str], step: int, name: str) -> Values:
    errors = {i: each for i, each in enumerate(found) if isinstance(each, str)}
    judged = {i: each for i, each in enumerate(found) if not isinstance(each, str)}
    unread = [i for i, each in judged.items() if each.unread]
    if len(unread) == len(judged) and len(unread) > 1:
        errors |= {i: f"judge: no reply of this batch holds a verdict; this one: {judged[i].replies}" for i in unread}
        judged, unread = {}, []
    errors = {i: why if len(why) <= 400 else f"{why[:400]}..." for i, why in errors.items()}
    if step == 0 and found and len(errors) == len(found):
        none = f"{name} judged none of {len(found)} completions of the first step"
        raise SetupError(f"reward llm_judge: {none}. {errors[0]}")
    values = [0.0 if i in unread else judged[i].value if i in judged else None for i in range(len(found))]
    return Values(values, errors, unread)
