"""The record that travels through the host side of the pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

IMAGE_MARK = "<image>"  # stands for a picture in a text, where not all pictures are in front of it


@dataclass(frozen=True)
class Example:
    """One question about zero or more images, with its exact answer.

    images: PIL images, uint8[h, w, 3] arrays, file paths or stored pictures (`rrft_jax.data.pictures`), in the order
        the question refers to them: in front of it, or where it and `history` hold as many marks.
    metadata: whatever the source knows besides (question_type, split, index); never read by the model.
    system: the system's text; None: the template's own.
    history: in a conversation, (role, text) of what was said before the question, "user" and "assistant" in turn.
    reply: the assistant's last message of such a conversation as it stands, to which `answer` and `cot` belong.
    """

    id: str
    task: str
    problem: str
    answer: str
    images: tuple = ()
    cot: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    system: str | None = None
    history: tuple[tuple[str, str], ...] = ()
    reply: str | None = None

    @property
    def marked(self) -> bool:
        """Whether its texts say where its pictures go."""
        return any(IMAGE_MARK in text for text in (self.problem, *(text for _, text in self.history)))

    def without_images(self) -> "Example":
        """The same record without pixels, cheap to send to a reward worker."""
        return replace(self, images=())
