"""Answers to single questions as text that grows: prompt, bucket, token stream, characters."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import jax

from rrft_jax.models.protocol import Model
from rrft_jax.processing.buckets import bucket_for, collate
from rrft_jax.processing.encoded import EncodedPrompt
from rrft_jax.processing.processor import Processor, encode_chat, encode_prompt
from rrft_jax.rollout.decoder import make_decoder
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.rollout.stream import make_stream

_REPLACEMENT = "\ufffd"  # what decoding puts for bytes that are no, or not yet a, character


def make_answer(
    model: Model, params: dict, processor: Processor, sampling: Sampling, max_new_tokens: int, seed: int = 0
) -> Callable[..., Iterator[str]]:
    """answer(text, images=(), system=None, number=0) -> pieces of the answer as they come.

    The text of `sample` with jax.random.key(seed) and prompt_id `number`. Questions that fall into the same bucket of
    sizes share their compiled programs. ValueError for a prompt that leaves no room for the answer.
    """
    speak = _make_speak(model, params, processor, sampling, max_new_tokens, seed)

    def answer(text: str, images: Sequence = (), system: str | None = None, number: int = 0) -> Iterator[str]:
        return speak(encode_prompt(processor, text, images, system=system), number)

    return answer


def make_reply(
    model: Model, params: dict, processor: Processor, sampling: Sampling, max_new_tokens: int, seed: int = 0
) -> Callable[[Sequence[tuple[str, Sequence]], int], Iterator[str]]:
    """reply(turns, number) -> pieces of the next answer in a conversation, as they come; the rest as in `make_answer`.

    turns: (role, parts) as `encode_chat` takes them, the user's last.
    """
    speak = _make_speak(model, params, processor, sampling, max_new_tokens, seed)
    return lambda turns, number: speak(encode_chat(processor, turns), number)


def _make_speak(
    model: Model, params: dict, processor: Processor, sampling: Sampling, max_new_tokens: int, seed: int
) -> Callable[[EncodedPrompt, int], Iterator[str]]:
    stream = make_stream(make_decoder(model, processor, max_new_tokens, sampling=sampling))
    key = jax.random.key(seed)

    def speak(encoded: EncodedPrompt, number: int) -> Iterator[str]:
        longest = model.config.max_position_embeddings
        if len(encoded.tokens) + max_new_tokens > longest:
            raise ValueError(
                f"a prompt of {len(encoded.tokens)} tokens and {max_new_tokens} new ones exceed the model's {longest} "
                "positions: lower max_pixels or max_new_tokens, or give fewer images"
            )
        prompts = collate([encoded], [number], bucket_for(encoded.size, processor.merge_size), processor.pad_token_id)
        return text_pieces(processor, stream(params, prompts, key))

    return speak


def text_pieces(processor: Processor, tokens: Iterable[int]) -> Iterator[str]:
    """Text of a token stream, each character once it is complete; joined it is what `decode` gives for all tokens.

    A byte-level token may end inside a UTF-8 character: its bytes wait for the rest, or for the end of the stream.
    """
    waiting: list[int] = []
    for token in tokens:
        if token in processor.eos_token_ids:
            break
        waiting.append(token)
        text = processor.plain.decode(waiting, skip_special_tokens=True)
        if text and not text.endswith(_REPLACEMENT):
            yield text
            waiting = []
    if waiting:
        yield processor.plain.decode(waiting, skip_special_tokens=True)
