"""From a request to the model's input. A bad request is refused here, before it waits for the model."""

import secrets
from dataclasses import dataclass

import numpy as np

from rrft_jax.data.index import Bucket
from rrft_jax.processing.buckets import bucket_for, round_up
from rrft_jax.processing.encoded import EncodedPrompt
from rrft_jax.processing.processor import Processor, encode_chat
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.serving.pictures import MAX_TOGETHER, read_picture
from rrft_jax.serving.protocol import ApiError, ChatRequest, PictureUrl

_MIN_LENGTH = 16
_BLOCK = 2**14  # characters that are tokenised at a time where a text is only measured


@dataclass(frozen=True)
class Limits:
    """positions: of the model; max_new_tokens: the longest answer, and the default where a request names none;
    max_rows: completions drawn at once, a power of two; max_images: of one request; max_bytes: of a request's body."""

    positions: int
    max_new_tokens: int = 1024
    max_rows: int = 16
    max_images: int = 16
    max_bytes: int = 32 * 2**20

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "max_rows", "max_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.max_rows & (self.max_rows - 1):
            raise ValueError(f"max_rows={self.max_rows} must be a power of two, as the shapes of batches are")


@dataclass(frozen=True)
class Work:
    """One request as the worker needs it. group and length are n and limit rounded up, so that few programs serve many
    requests; number addresses the draws; limit is the longest answer in tokens."""

    prompt: EncodedPrompt
    bucket: Bucket
    sampling: Sampling
    n: int
    group: int
    limit: int
    length: int
    number: int
    stop: tuple[str, ...]
    stream: bool

    @property
    def shape(self) -> tuple:
        """Requests of equal shape can be drawn in one batch."""
        return self.bucket, self.sampling, self.group, self.length, self.stream


def prepare(request: ChatRequest, processor: Processor, limits: Limits) -> Work:
    """Decodes images, encodes the conversation, chooses shapes. Raises ApiError (400) that names the field."""
    images = sum(isinstance(part, PictureUrl) for message in request.messages for part in message.parts)
    if images > limits.max_images:
        raise ApiError(400, f"{images} images are more than {limits.max_images}", "messages")
    if request.n > limits.max_rows:
        raise ApiError(400, f"n={request.n} is more than {limits.max_rows}", "n")
    if (request.max_tokens or 0) > limits.max_new_tokens:
        raise ApiError(400, f"max_tokens={request.max_tokens} is more than {limits.max_new_tokens}", "max_tokens")
    _refuse_long(request, processor, limits.positions)
    turns, room = [], MAX_TOGETHER
    for message in request.messages:
        parts = []
        for part in message.parts:
            if isinstance(part, PictureUrl):
                part = read_picture(part, room)
                room -= part.width * part.height
            parts.append(part)
        turns.append((message.role, parts))
    try:
        prompt = encode_chat(processor, turns)
    except ValueError as error:  # an image too narrow for the model, or a template without room for the turns
        raise ApiError(400, str(error), "messages") from error
    tokens = len(prompt.tokens)
    room = limits.positions - tokens
    limit = request.max_tokens or min(limits.max_new_tokens, room)
    if limit > room or room < 1:
        wanted = f" and max_tokens={request.max_tokens}" if request.max_tokens else ""
        raise _too_long(f"{tokens} tokens of messages and images{wanted}", limits.positions)
    return Work(
        prompt=prompt,
        bucket=bucket_for(prompt.size, processor.merge_size),
        sampling=request.sampling,
        n=request.n,
        group=1 << (request.n - 1).bit_length(),
        limit=limit,
        length=round_up(limit, _MIN_LENGTH),
        number=draw_number(request.seed),
        stop=request.stop,
        stream=request.stream,
    )


def _refuse_long(request: ChatRequest, processor: Processor, positions: int) -> None:
    """Refuses texts that are far too long for the model before they are tokenised whole, which for megabytes takes
    minutes and gigabytes. Twice the positions is far: cut into blocks, a text has a few tokens more than in one."""
    texts = [part for message in request.messages for part in message.parts if isinstance(part, str)]
    most, tokens = 2 * positions, len(request.messages)  # a message has one or more, whatever it says
    if tokens + sum(map(len, texts)) <= most:  # the usual case; a character may be several tokens, but not many
        return
    for text in texts:
        for start in range(0, len(text), _BLOCK):
            if tokens > most:
                break
            tokens += len(processor.plain.encode(text[start : start + _BLOCK], add_special_tokens=False))
    if tokens > most:
        raise _too_long(f"more than {most} tokens of messages", positions)


def _too_long(what: str, positions: int) -> ApiError:
    advice = "shorten the messages, give fewer or smaller images, or lower max_tokens"
    what = f"{what} exceed the model's {positions} positions: {advice}"
    return ApiError(400, what, "messages", "context_length_exceeded")


def draw_number(seed: int | None) -> int:
    """The prompt_id int31 that addresses the draws of a seed of any size; None: one that nobody chose."""
    if seed is None:
        return secrets.randbits(31)
    return int(np.random.SeedSequence(seed % 2**64).generate_state(1)[0] >> 1)
