"""What asking an endpoint would send, without sending anything."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rrft_jax.data.decoding import image_size
from rrft_jax.evaluation.questions import Question
from rrft_jax.remote.endpoint import Decoding, Endpoint

_CHARACTERS = 4  # per token of English text, roughly
_PIXELS = 28 * 28  # per visual token; models differ


@dataclass(frozen=True)
class DryRun:
    """requests: at least, without repetitions. image_sizes: (width, height) -> images in questions. text_tokens,
    image_tokens: estimates over all requests; most_new_tokens: the bound of all answers together."""

    questions: int
    requests: int
    image_sizes: dict[tuple[int, int], int]
    text_tokens: int
    image_tokens: int
    most_new_tokens: int
    minutes: float | None

    def report(self) -> str:
        """Some lines for people."""
        images = sum(self.image_sizes.values())
        common = ", ".join(f"{k} of {w}x{h}" for (w, h), k in Counter(self.image_sizes).most_common(8))
        others = len(self.image_sizes) - 8
        sizes = f" ({common}{f', and {others} other sizes' if others > 0 else ''})" if images else ""
        lines = [
            f"{self.questions} questions in {self.requests} requests; nothing was sent",
            f"{images} images{sizes}, sent at full size",
            f"about {self.text_tokens} tokens of text (a token per {_CHARACTERS} characters)",
            f"about {self.image_tokens} tokens of images (a token per 28x28 pixels; models differ)",
            f"at most {self.most_new_tokens} tokens of answers",
        ]
        if self.minutes is not None:
            lines.append(f"at least {self.minutes:.1f} minutes at the given rate of requests")
        return "\n".join(lines)


def count_requests(endpoint: Endpoint, decoding: Decoding, questions: Sequence[Question]) -> DryRun:
    """Reads the headers of images and nothing of the environment. Raises OSError that names the question of an image
    that cannot be read."""
    repeats = decoding.samples if "n" in endpoint.leave_out else 1
    sizes: Counter[tuple[int, int]] = Counter()
    for question in questions:
        for image in question.images:
            try:
                height, width = image_size(image)
            except OSError as error:
                raise OSError(f"question {question.id}: {error}") from error
            sizes[width, height] += 1
    characters = sum(
        len(text) for q in questions for text in (q.text, q.system or "", *(said for _, said in q.history))
    )
    requests = len(questions) * repeats
    rate = endpoint.requests_per_minute
    return DryRun(
        questions=len(questions),
        requests=requests,
        image_sizes=dict(sizes),
        text_tokens=repeats * -(-characters // _CHARACTERS),
        image_tokens=repeats * sum(k * -(-w * h // _PIXELS) for (w, h), k in sizes.items()),
        most_new_tokens=len(questions) * decoding.samples * decoding.max_new_tokens,
        minutes=requests / rate if rate else None,
    )
