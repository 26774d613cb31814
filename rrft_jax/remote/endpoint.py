"""A served model, how it may be asked, and its key.

The key comes from the environment alone and goes nowhere but into a request: it is no field of anything here, and it is
taken out of every text that a server sends.
"""

import ipaddress
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

OPTIONAL = ("temperature", "top_p", "top_k", "seed", "n", "max_tokens")
KEY_ENV = "OPENAI_API_KEY"
_SHORTEST_KEY = 8  # characters; a shorter "key" is a placeholder, and taking it out would eat ordinary text


class EndpointError(ValueError):
    """The endpoint cannot answer anything: a refused key, an unknown model, a used-up quota."""


@dataclass(frozen=True)
class Endpoint:
    """A served model and how it may be asked.

    url: ends where /chat/completions follows, such as https://api.openai.com/v1. api_key_env: the environment variable
    that holds the key; None: OPENAI_API_KEY if it is set, and else no key. concurrency: requests at once.
    requests_per_minute: 0 is no limit. timeout: seconds for one whole request. attempts: of one request, the first
    included. first_wait, longest_wait: seconds between them, growing. give_up: questions that fail one after another
    until no more are asked. leave_out: fields of OPTIONAL that this server refuses; without `n`, samples are asked for
    one by one. max_tokens_name: what it calls the limit of an answer.
    """

    url: str
    model: str
    api_key_env: str | None = None
    concurrency: int = 8
    requests_per_minute: float = 0.0
    timeout: float = 120.0
    attempts: int = 8  # with the waits between them they outlast a limit per minute
    first_wait: float = 1.0
    longest_wait: float = 60.0
    give_up: int = 20
    leave_out: tuple[str, ...] = ()
    max_tokens_name: str = "max_tokens"

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the endpoint's URL must begin with http:// or https:// and name a host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("the endpoint's URL must hold no user, password or query: a key goes into the environment")
        for name in ("concurrency", "timeout", "attempts", "give_up"):
            if not getattr(self, name) > 0:
                raise ValueError(f"endpoint {name}={getattr(self, name)} must be positive")
        for name in ("requests_per_minute", "first_wait", "longest_wait"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"endpoint {name}={getattr(self, name)} must be 0 or more")
        if wrong := set(self.leave_out) - set(OPTIONAL):
            raise ValueError(f"endpoint leave_out={sorted(wrong)}: choose from {', '.join(OPTIONAL)}")


@dataclass(frozen=True)
class Decoding:
    """How answers are drawn. temperature 0: greedy. top_k 0 and top_p 1 are off. samples: answers per question."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    max_new_tokens: int = 768
    samples: int = 1
    seed: int = 0


def read_key(name: str | None, field: str = "--api_key_env") -> str | None:
    """The key in an environment variable; None for none. Errors name the variable and the
    field that names it, never its value."""
    value = os.environ.get(name or KEY_ENV, "").strip()
    if not value:
        if name is not None:
            raise ValueError(f"{field}={name}: this environment variable is not set")
        return None
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"{name or KEY_ENV} holds characters that no key has: set it again")
    return value


def mask_key(text: str, key: str | None, least: int) -> str:
    """The text with '***' for each run of `least` or more characters of the key, in upper or lower case."""
    if not key or len(key) < _SHORTEST_KEY:
        return text
    least = min(least, len(key))
    key, lower = key.lower(), "".join(c.lower() if c.isascii() else c for c in text)  # of the same length as the text
    pieces = {key[k : k + least] for k in range(len(key) - least + 1)}
    out, k = [], 0
    while k < len(text):
        end = k
        if lower[k : k + least] in pieces:
            end = k + least
            while lower[end + 1 - least : end + 1] in pieces:
                end += 1
        out.append("***" if end > k else text[k])
        k = max(end, k + 1)
    return "".join(out)


def key_in_clear(endpoint: Endpoint) -> bool:
    """Whether there is a key, longer than a placeholder, and it would cross a network without encryption."""
    parts, key = urlsplit(endpoint.url), read_key(endpoint.api_key_env) or ""
    here = parts.hostname == "localhost"
    with suppress(ValueError):  # a name, not an address
        here = here or ipaddress.ip_address(parts.hostname or "").is_loopback
    return parts.scheme == "http" and not here and len(key) >= _SHORTEST_KEY


def settings(endpoint: Endpoint, decoding: Decoding, n: int, seed: int) -> dict[str, Any]:
    """Arguments of one request. What is off is not sent, since many servers know neither top_k nor n."""
    sent = {
        "temperature": decoding.temperature,
        "top_p": decoding.top_p if decoding.top_p < 1 else None,
        "seed": seed,
        "n": n if n > 1 else None,
        "max_tokens": decoding.max_new_tokens,
        "top_k": decoding.top_k or None,
    }
    kept: dict[str, Any] = {k: v for k, v in sent.items() if v is not None and k not in endpoint.leave_out}
    if "max_tokens" in kept:
        kept[endpoint.max_tokens_name] = kept.pop("max_tokens")
    if "top_k" in kept:  # no argument of the package, a field of the body
        kept["extra_body"] = {"top_k": kept.pop("top_k")}
    return kept
