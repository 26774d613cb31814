"""The record that travels through the host side of the pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Example:
    """One question about zero or more images, with its exact answer.

    images: PIL images, uint8[h, w, 3] arrays, file paths or stored pictures (`rrft_jax.data.pictures`), in the order
        the question refers to them.
    metadata: whatever the source knows besides (question_type, split, index); never read by the model.
    """

    id: str
    task: str
    problem: str
    answer: str
    images: tuple = ()
    cot: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def without_images(self) -> "Example":
        """The same record without pixels, cheap to send to a reward worker."""
        return replace(self, images=())
