"""The verdicts of a served judge as a reward: a coroutine, since it waits for a server and computes nothing here."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rrft_jax.remote.client import Trouble, import_openai
from rrft_jax.remote.endpoint import Endpoint
from rrft_jax.rewards.judge.backend import Connection, Served, served
from rrft_jax.rewards.judge.items import Item, Pair
from rrft_jax.rewards.judge.judging import Judge, Judgement
from rrft_jax.rewards.judge.rubric import PAIRWISE, POINTWISE
from rrft_jax.rewards.values import SetupError, Values, reason

if TYPE_CHECKING:
    from rrft_jax.data.example import Example

_FIELD = "config.reward_options.llm_judge."


class Judges:
    """The connections of a run, made by its first batch and used until it ends."""

    def __init__(self):
        self._made: dict[tuple, Connection] = {}

    def get(self, *options: Any) -> Connection:
        """The connection of these options of `llm_judge`; what files they name is read once."""
        if options not in self._made:
            self._made[options] = Connection(_chosen(*options))
        return self._made[options]


async def llm_judge(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    judges: Judges,
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
        url, model, api_key_env, kind, rubric, demonstrations, k, reference, baseline, both_orders, cache, timeout,
        attempts, concurrency, requests_per_minute, give_up, max_tokens, max_tokens_name, tuple(leave_out),
    )  # fmt: skip
    judge = connection.judge()
    pairs = zip(completions, examples, strict=True)
    found = await asyncio.gather(*(_judged(judge, kind, text, each, reference, baseline) for text, each in pairs))
    return _values(found, step, url)


def check_llm_judge(**options: Any) -> None:
    """Raises ValueError where these options cannot work, before a run starts."""
    try:
        import_openai()
    except ImportError as error:
        raise ValueError(f"reward llm_judge: {error}") from None
    _chosen(**{**(llm_judge.__kwdefaults__ or {}), **options})


def _chosen(
    url: str, model: str, api_key_env: str, kind: str, rubric: str, demonstrations: str, k: int, reference: bool,
    baseline: str, both_orders: bool, cache: str, timeout: float, attempts: int, concurrency: int,
    requests_per_minute: float, give_up: int, max_tokens: int, max_tokens_name: str, leave_out: Sequence[str],
) -> Served:  # fmt: skip
    if kind not in (POINTWISE, PAIRWISE):
        raise ValueError(f"{_FIELD}kind={kind!r}: choose {POINTWISE} or {PAIRWISE}")
    if not url:
        raise ValueError(f"{_FIELD}url: name the judge's server, such as http://127.0.0.1:8000/v1")
    if kind == POINTWISE and (baseline or not both_orders):
        option = f"baseline={baseline!r}" if baseline else "both_orders=False"
        raise ValueError(f"{_FIELD}{option} changes nothing for a {POINTWISE} judge: set kind={PAIRWISE}")
    try:
        endpoint = Endpoint(
            url, model, api_key_env or None, concurrency, float(requests_per_minute), float(timeout), attempts,
            longest_wait=10.0, give_up=give_up, leave_out=tuple(leave_out), max_tokens_name=max_tokens_name,
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"config.reward_options.llm_judge: {error}") from None
    return served(kind, endpoint, rubric, demonstrations, k, max_tokens, both_orders, cache, _FIELD)


async def _judged(
    judge: Judge, kind: str, text: str, example: "Example", reference: bool, baseline: str
) -> Judgement | str:
    """The judgement of one completion, or why there is none."""
    prompt = "\n\n".join([*(f"{role}: {said}" for role, said in example.history), example.problem])
    try:
        if kind == POINTWISE:
            return await judge.score(Item(prompt, text, (example.answer or None) if reference else None))
        other = example.metadata.get(baseline) if baseline else example.reply or example.answer
        if not isinstance(other, str) or not other:
            where = f"field {baseline!r}" if baseline else "answer"
            raise ValueError(f"example {example.id} has no text in its {where} to compare with")
        shown = example.answer if reference and baseline and example.answer else None
        return await judge.compare(Pair(prompt, text, other, shown))
    except Trouble as trouble:
        return f"judge: {trouble.why}"
    except Exception as error:  # a cache that cannot be written, a record without what is compared
        return reason(error)


def _values(found: Sequence[Judgement | str], step: int, url: str) -> Values:
    errors = {i: each for i, each in enumerate(found) if isinstance(each, str)}
    judged = {i: each for i, each in enumerate(found) if not isinstance(each, str)}
    unread = [i for i, each in judged.items() if each.unread]
    if len(unread) == len(judged) and len(unread) > 1:
        errors |= {i: f"judge: no reply of this batch holds a verdict; this one: {judged[i].replies}" for i in unread}
        judged, unread = {}, []
    errors = {i: why if len(why) <= 400 else f"{why[:400]}..." for i, why in errors.items()}
    if step == 0 and found and len(errors) == len(found):
        none = f"{url} judged none of {len(found)} completions of the first step"
        raise SetupError(f"reward llm_judge: {none}. {errors[0]}")
    values = [0.0 if i in unread else judged[i].value if i in judged else None for i in range(len(found))]
    return Values(values, errors, unread)
