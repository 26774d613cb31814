"""Our sampler as an answerer: equal to single answers, whatever the batch, the mesh and the other questions."""

import jax.numpy as jnp
import pytest

from rrft_jax.evaluation.answer import make_answer
from rrft_jax.evaluation.questions import Decoding, Question
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.pretrained import ASSETS, load_for_inference, load_parts
from rrft_jax.rollout.answering import make_answerer
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.tasks.registry import get_task
from tests.devices import run_on_devices

NANO = ASSETS / "nano"


def questions(count):
    """Of one and of two pictures, so that there are several buckets."""
    found = []
    for number in range(count):
        task = get_task(("visual_counting", "spatial_transformation")[number % 3 == 2])
        example = task.make(1, number, "sampled", "in")
        found.append(Question(example.id, number, task.prompt_fn("cot")(example), example.images))
    return found


def prepare(decoding, batch):
    model, processor = load_parts(NANO, "float32")
    mesh = make_mesh()
    params = load_for_inference(NANO, model.config, mesh, jnp.dtype(jnp.float32))
    return model, processor, params, make_answerer(model, params, processor, mesh, decoding, batch)


def test_answers_are_those_of_single_questions_in_any_batch():
    asked, decoding = questions(5), Decoding(temperature=1.0, max_new_tokens=12, samples=2, seed=3)
    model, processor, params, answer = prepare(decoding, batch=3)
    replies = {reply.id: reply for reply in answer(asked)}
    assert set(replies) == {q.id for q in asked}
    done = list(replies)[:2]  # of the first batch: it is asked as a whole, and the rest of it is given
    assert list(answer(asked, done)) == list(replies.values())[2:]
    single = make_answer(model, params, processor, Sampling(1.0), 12, seed=3)
    for question in asked:
        reply = replies[question.id]
        assert reply.texts[0] == "".join(single(question.text, question.images, None, question.number))
        assert len(reply.texts) == len(reply.lengths) == len(reply.finished) == 2
        assert all(1 <= n <= 12 for n in reply.lengths)
        assert all(n == 12 or done for n, done in zip(reply.lengths, reply.finished, strict=True))
    again = prepare(decoding, batch=2)[3]
    assert {r.id: r.texts for r in again(asked[::-1])} == {name: r.texts for name, r in replies.items()}


def test_what_leaves_no_room_and_what_cannot_be_read_is_named(tmp_path):
    *_, answer = prepare(Decoding(max_new_tokens=4095), batch=2)
    with pytest.raises(ValueError, match="question q7: .* exceed the model's 4096 positions: lower --max_new_tokens"):
        list(answer([Question("q7", 0, "How many?")]))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="question q8: .*broken.png.*replace the file"):
        list(answer([Question("q8", 0, "How many?", (tmp_path / "broken.png",))]))


@pytest.mark.slow
def test_eight_devices_give_the_answers_of_one():
    code = (
        "from tests.rollout.test_answering import *\n"
        "decoding = Decoding(temperature=1.0, max_new_tokens=6, seed=3)\n"
        "print(sorted((r.id, r.texts) for r in prepare(decoding, batch=4)[3](questions(5))))"
    )
    outputs = {devices: run_on_devices(code, count=devices) for devices in (1, 8)}
    assert outputs[1] == outputs[8] and "spatial" in outputs[1]
