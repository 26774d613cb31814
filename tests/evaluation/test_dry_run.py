"""What a dry run counts, by hand; and that it sends nothing."""

import socket

import numpy as np
import pytest
from PIL import Image

from rrft_jax.evaluation.dry_run import count_requests
from rrft_jax.evaluation.questions import Question
from rrft_jax.remote.endpoint import Decoding, Endpoint


def test_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *args: pytest.fail("a connection"))
    Image.new("RGB", (56, 28)).save(tmp_path / "a.png")
    array = np.zeros((28, 56, 3), np.uint8)
    questions = [
        Question("a", 0, "x" * 400, (str(tmp_path / "a.png"), Image.new("L", (100, 100)))),
        Question("b", 1, "x" * 41, (array,), system="x" * 4),
    ]
    endpoint = Endpoint("https://example.org/v1", "m", requests_per_minute=4)
    got = count_requests(endpoint, Decoding(samples=3, max_new_tokens=10), questions)
    assert (got.questions, got.requests, got.text_tokens, got.most_new_tokens) == (2, 2, 112, 60)
    assert got.image_sizes == {(56, 28): 2, (100, 100): 1} and got.image_tokens == 2 + 2 + 13
    assert got.minutes == 0.5
    report = got.report()
    for part in ("2 questions in 2 requests; nothing was sent", "3 images (2 of 56x28, 1 of 100x100)", "0.5 minutes"):
        assert part in report
    single = Endpoint("https://example.org/v1", "m", leave_out=("n",))
    apart = count_requests(single, Decoding(samples=3, max_new_tokens=10), questions)
    assert (apart.requests, apart.text_tokens, apart.image_tokens, apart.most_new_tokens) == (6, 336, 51, 60)
    assert apart.minutes is None and "minutes" not in apart.report()


def test_missing_image_names_its_question():
    with pytest.raises(OSError, match="question b: nowhere.png: no such image file"):
        count_requests(Endpoint("http://a/v1", "m"), Decoding(), [Question("b", 0, "x", ("nowhere.png",))])
