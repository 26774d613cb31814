"""A judge behind an OpenAI-compatible endpoint, as a reward: --reward rrft_jax.evaluation.judging:judge=1.0

    config.reward_options.judge = {"endpoint": "http://localhost:8000/v1", "model": "judge", "cache": "workdirs/judge"}

The key comes from the environment alone (OPENAI_API_KEY). Requests run while the devices score the batch.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rrft_jax.evaluation.endpoint import Endpoint, EndpointError, Unanswered, make_answerer
from rrft_jax.evaluation.questions import Decoding, Question
from rrft_jax.rewards.judge.cache import cached
from rrft_jax.rewards.judge.conversation import Ask, Conversation
from rrft_jax.rewards.judge.verdicts import grade
from rrft_jax.rewards.values import Values

if TYPE_CHECKING:
    from rrft_jax.data.example import Example


def ask_endpoint(endpoint: Endpoint, max_tokens: int = 256) -> Ask:
    """Asks greedily, `endpoint.concurrency` conversations at once. A question that fails has no reply; so have all that
    are left where the endpoint refuses everything."""
    answerer = make_answerer(endpoint, Decoding(max_new_tokens=max_tokens))

    def ask(conversations: Sequence[Conversation]) -> list[tuple[str | None, str]]:
        questions = [
            Question(str(i), i, each.text, (), each.system, each.turns) for i, each in enumerate(conversations)
        ]
        replies: dict[str, str] = {}
        failures: dict[str, str] = {}
        left = "the judge was not asked any more"
        try:
            for reply in answerer(questions):
                replies[reply.id] = reply.texts[0]
        except Unanswered as error:
            failures = error.failures
        except EndpointError as error:
            left = str(error)
        return [(replies.get(q.id), failures.get(q.id, left)) for q in questions]

    return ask


def judge(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    endpoint: str = "",
    model: str = "",
    api_key_env: str = "",
    concurrency: int = 8,
    requests_per_minute: float = 0.0,
    timeout: float = 60.0,
    attempts: int = 3,
    demonstrations: int = 6,
    with_reference: bool = True,
    cache: str = "",
    max_tokens: int = 256,
) -> Values:
    """The judge's score of each completion, divided by 10.

    with_reference: whether it sees the example's answer. cache: a folder of replies; empty: none are kept. A reply that
    cannot be read gives 0 and counts as parse_fail/judge; one that does not come leaves the completion without a value,
    counted as reward_error. ValueError without `endpoint` and `model`.
    """
    if not endpoint or not model:
        raise ValueError("config.reward_options.judge: give endpoint, an OpenAI-compatible URL, and model")
    server = Endpoint(
        endpoint, model, api_key_env or None, concurrency=concurrency, requests_per_minute=requests_per_minute,
        timeout=timeout, attempts=attempts,
    )  # fmt: skip
    ask = ask_endpoint(server, max_tokens)
    if cache:
        ask = cached(ask, f"{endpoint} {model} {max_tokens}", cache)
    items = [
        (example.problem, completion, example.answer if with_reference else "")
        for completion, example in zip(completions, examples, strict=True)
    ]
    return grade(ask, items, demonstrations)
