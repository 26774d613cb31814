"""From the fields of a config to the rewards of a run."""

import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rrft_jax.rewards import registry, symbolic
from rrft_jax.rewards.base import Planned
from rrft_jax.rewards.combine import RewardSet
from rrft_jax.rewards.judge.reward import Judges
from rrft_jax.rewards.options import check_options, plain_options
from rrft_jax.rewards.outside import load_rewards
from rrft_jax.rewards.registry import REWARDS
from rrft_jax.rewards.trl_adapter import Tokenize
from rrft_jax.rewards.values import Weighted

if TYPE_CHECKING:
    from rrft_jax.rewards.pool import Pool


def chosen_rewards(
    weights: Mapping[str, float],
    extra: Sequence[str] = (),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    always: Sequence[str] = (),
    tokenize: Tokenize,
    max_completion_length: int = 0,
    pool: "Pool | None" = None,
    base: Planned | None = None,
) -> RewardSet:
    """The rewards that are computed: those with a weight, those of `extra`, and those named in `always`.

    weights: of registered rewards (config.rewards). extra: "reference=weight" of rewards from outside the package
    (config.extra_rewards). options: by name of the reward (config.reward_options). tokenize: texts -> token ids, of
    the tokenizer that trains. max_completion_length: of a completion. pool: as for `reward_set`. base: the frozen model
    that the program holds, for rewards that name it; None: it holds none.

    Raises ValueError, also for an option that is set and that nothing reads, since its reward is not computed.
    """
    given: dict[str, Any] = {"count_tokens": lambda texts: [len(ids) for ids in tokenize(texts)], "judges": Judges()}
    given |= {"max_completion_length": max_completion_length, "base": base}
    if pool is not None:
        given["verify"] = symbolic.in_pool(pool)
    options = {name: dict(fields) for name, fields in (options or {}).items()}
    computed = {name: weight for name, weight in weights.items() if weight or name in always}
    outside = load_rewards(extra, options, given, tokenize)
    _check(options, computed, {item.name for item in outside})
    if missing := set(always) - {*computed, *(item.name for item in outside)}:
        raise ValueError(f"config.rewards lacks {', '.join(sorted(missing))}, which evaluation needs: give it weight 0")
    registered = []
    for name, weight in computed.items():
        filled = {key: given[key] for key in registry.options(name) if key in given}
        if name in registry.CHECKS:
            check = registry.CHECKS[name]
            read = {key: given[key] for key in inspect.signature(check).parameters if key in given}
            check(**read, **options.get(name, {}))
        registered.append(Weighted(name, registry.get(name, **filled, **options.get(name, {})), float(weight)))
    return RewardSet((*registered, *outside))


def _check(options: Mapping[str, dict], computed: Mapping[str, float], outside: set[str]) -> None:
    for name, fields in options.items():
        if name in outside:
            continue  # checked where it was loaded
        if name not in REWARDS:
            near = difflib.get_close_matches(name, [*REWARDS, *outside], n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "add it with --reward FILE.py:NAME=WEIGHT"
            raise ValueError(f"config.reward_options.{name}: this run has no such reward; {hint}")
        check_options(name, REWARDS[name], fields)
        defaults = plain_options(REWARDS[name])
        for option, value in fields.items():
            if name not in computed and value != defaults[option]:
                raise ValueError(
                    f"config.reward_options.{name}.{option}={value!r} changes nothing while config.rewards.{name} is "
                    f"0: give the reward a weight, such as --config.rewards.{name}=0.1"
                )
