"""Answers of our own sampler: questions in batches of bounded shapes, sharded over a mesh and over processes."""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial

import jax
from jax.sharding import Mesh

from rrft_jax.data.decoding import image_size
from rrft_jax.data.index import Bucket
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.protocol import Model
from rrft_jax.parallel.layout import plan
from rrft_jax.parallel.placement import by_rows, to_devices
from rrft_jax.parallel.processes import all_gather_objects, local_rows
from rrft_jax.processing.buckets import bucket_for, collate
from rrft_jax.processing.processor import Processor, decode, encode_prompt, measure
from rrft_jax.remote.endpoint import Decoding
from rrft_jax.rollout.compaction import EVALUATION
from rrft_jax.rollout.decoder import make_decoder
from rrft_jax.rollout.questions import BatchAnswerer, Question, Reply
from rrft_jax.rollout.sampler import Rollouts, sample
from rrft_jax.rollout.sampling import Sampling


def make_answerer(
    model: Model, params: dict, processor: Processor, mesh: Mesh, decoding: Decoding, batch: int,
    compact: int = EVALUATION,
) -> BatchAnswerer:  # fmt: skip
    """The BatchAnswerer that samples from `params` (on the mesh), as `make_answerers` says."""
    return make_answerers(model, processor, mesh, decoding, batch, compact)(params)


def make_answerers(
    model: Model, processor: Processor, mesh: Mesh, decoding: Decoding, batch: int, compact: int = EVALUATION
) -> Callable[[dict], BatchAnswerer]:
    """From parameters on the mesh to the BatchAnswerer that samples from them, `batch` questions at a time; all of them
    share their programs.

    Draws are addressed by (decoding.seed, Question.number, sample): neither the batch nor the other questions change
    them, up to rounding where unfinished rows continue in smaller batches (`Decoder.compact`; 0: never, and a reply has
    the same bits whatever else is asked). Every process asks for the same questions and gets all replies. Questions are
    put into buckets of sizes, one compiled program each; ValueError names one that leaves no room for its answer.
    """
    sampling = Sampling(decoding.temperature, decoding.top_k, decoding.top_p)
    decoder = make_decoder(model, processor, decoding.max_new_tokens, sampling=sampling, compact=compact)
    key = jax.random.key(decoding.seed)
    layout = plan(mesh, batch)

    @jax.jit
    def generate(params: dict, prompts: Prompts, key: jax.Array) -> Rollouts:
        return by_rows(sample(decoder, params, prompts, key, decoding.samples))

    def submit(params: dict, bucket: Bucket, questions: Sequence[Question]) -> Rollouts:
        """Rows beyond the questions repeat them."""
        prompts = collated(processor, bucket, [questions[i % len(questions)] for i in layout.prompt_of.tolist()])
        return generate(params, to_devices(prompts, mesh), key)

    def read(rollouts: Rollouts, questions: Sequence[Question]) -> list[Reply]:
        tokens, mask, finished = (
            local_rows(x, layout.mine) for x in (rollouts.tokens, rollouts.mask, rollouts.finished)
        )
        own = []
        for row, number in enumerate(layout.prompt_of.tolist()):
            if number < len(questions) and layout.owned[row]:
                texts = tuple(decode(processor, ids) for ids in tokens[row])
                lengths = tuple(int(n) for n in mask[row].sum(-1))
                own.append((number, Reply(questions[number].id, texts, lengths, tuple(map(bool, finished[row])))))
        pairs = [pair for part in all_gather_objects(own) for pair in part]
        return [reply for _, reply in sorted(pairs, key=lambda pair: pair[0])]

    def answer(params: dict, questions: Sequence[Question], done: Collection[str] = ()) -> Iterator[Reply]:
        return (reply for reply in of_batches(params, questions, done) if reply.id not in done)

    def of_batches(params: dict, questions: Sequence[Question], done: Collection[str]) -> Iterator[Reply]:
        waiting = None
        positions = model.config.max_position_embeddings
        for bucket, chunk in question_batches(processor, positions, decoding.max_new_tokens, questions, batch):
            if all(question.id in done for question in chunk):
                continue
            submitted = submit(params, bucket, chunk), chunk
            if waiting:  # read while the devices work on the next batch
                yield from read(*waiting)
            waiting = submitted
        if waiting:
            yield from read(*waiting)

    return lambda params: partial(answer, params)


def collated(processor: Processor, bucket: Bucket, questions: Sequence[Question]) -> Prompts:
    """A row for each question, which may be named several times; its number is the prompt's id."""
    encoded = {q.number: encode_prompt(processor, q.text, q.images, (), q.system, q.history) for q in questions}
    return collate(
        [encoded[q.number] for q in questions], [q.number for q in questions], bucket, processor.pad_token_id,
        [q.id for q in questions],
    )  # fmt: skip


def question_batches(
    processor: Processor, positions: int, max_new_tokens: int, questions: Sequence[Question], batch: int
) -> Iterator[tuple[Bucket, list[Question]]]:
    """At most `batch` questions of one bucket of sizes at a time, small ones first. ValueError names a question that
    leaves no room for an answer of max_new_tokens in the model's positions."""
    by_bucket: dict[Bucket, list[Question]] = {}
    for question in questions:
        try:
            pixels = [image_size(image) for image in question.images]
            size = measure(processor, question.text, pixels, question.system, question.history)
        except OSError as error:  # which names the picture
            raise ValueError(f"question {question.id}: {error}") from error
        except ValueError as error:
            raise ValueError(f"question {question.id}: {error}; replace its picture or leave the record out") from error
        if size.prompt_tokens + max_new_tokens > positions:
            raise ValueError(
                f"question {question.id}: {size.prompt_tokens} prompt tokens and {max_new_tokens} new ones "
                f"exceed the model's {positions} positions: lower --max_new_tokens or --max_pixels"
            )
        by_bucket.setdefault(bucket_for(size, processor.merge_size), []).append(question)
    for bucket in sorted(by_bucket, key=lambda b: (b.prompt_tokens + b.images * b.patches, b.prompt_tokens)):
        mine = by_bucket[bucket]
        for low in range(0, len(mine), batch):
            yield bucket, mine[low : low + batch]
