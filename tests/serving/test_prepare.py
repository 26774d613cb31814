"""From requests to arrays: images in data URLs, shapes, and everything that is refused before it waits."""

import base64
import io
from dataclasses import replace
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from rrft_jax.pretrained import resolve_init
from rrft_jax.processing.processor import encode_prompt, load_processor
from rrft_jax.rollout.sampling import Sampling
from rrft_jax.serving.pictures import decode_base64, read_picture
from rrft_jax.serving.prepare import Limits, draw_number, prepare
from rrft_jax.serving.protocol import ApiError, ChatRequest, Message, PictureUrl
from tests.timing import within

LIMITS = Limits(positions=4096, max_new_tokens=512, max_rows=8, max_images=2)


@pytest.fixture(scope="module")
def nano():
    return load_processor(resolve_init("nano"))


def data_url(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"


def noise(height=112, width=112):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def ask(*parts, **fields):
    return ChatRequest("m", (Message("user", parts or ("How many?",)),), Sampling(0.0), **fields)


def test_prompt_is_that_of_an_evaluation(nano):
    image = noise()
    work = prepare(ask(PictureUrl(data_url(image), "p"), "How many?", max_tokens=20), nano, LIMITS)
    expected = encode_prompt(nano, "How many?", [image])
    np.testing.assert_array_equal(work.prompt.tokens, expected.tokens)
    np.testing.assert_array_equal(work.prompt.patches[0], expected.patches[0])
    assert work.limit == 20 and 20 <= work.length <= 30 and work.bucket.fits(expected.size)


def test_shapes_are_few(nano):
    works = [prepare(ask(n=n, max_tokens=m), nano, LIMITS) for n in range(1, 9) for m in range(1, 513, 37)]
    assert all(work.n <= work.group <= 2 * work.n and work.limit <= work.length for work in works)
    assert len({work.group for work in works}) == 4 and len({work.length for work in works}) <= 12
    assert prepare(ask(), nano, LIMITS).limit == 512, "without a limit, the server's"


def test_seeds_of_any_size():
    numbers = [draw_number(seed) for seed in (0, 1, -1, 2**31, 2**62, -(2**63))]
    assert len(set(numbers)) == 6 and all(0 <= k < 2**31 for k in numbers)
    assert draw_number(5) == draw_number(5)
    assert len({draw_number(None) for _ in range(8)}) > 1


def test_too_much_is_refused(nano):
    picture = PictureUrl(data_url(noise()), "p")
    cases = {
        "n=9 is more than 8": ask(n=9),
        "max_tokens=513 is more than 512": ask(max_tokens=513),
        "3 images are more than 2": ask(*[picture] * 3),
        "exceed the model's 4096 positions": ask("a " * 5000),
        "and max_tokens=500 exceed": ask("a b " * 1900, max_tokens=500),
        "cannot be resized": ask(PictureUrl(data_url(noise(4, 1200)), "p"), "?"),
    }
    for message, request in cases.items():
        with pytest.raises(ApiError, match=message) as caught:
            prepare(request, nano, LIMITS)
        assert caught.value.status == 400
        assert (caught.value.code == "context_length_exceeded") == ("exceed" in message)
    nearly = prepare(ask("a b " * 1900), nano, LIMITS)
    assert nearly.limit == 4096 - len(nearly.prompt.tokens) < 512, "what room there is"


def test_megabytes_of_text_are_refused_by_their_size(nano):
    """They take 10 to 100 s to tokenise whole. The pictures of such a request are not looked at."""
    broken = PictureUrl("data:image/png;base64,AAAA", "p")
    turn, last = Message("assistant", ("",)), Message("user", ("",))
    turns = (Message("user", ("",)), turn) * 100_000
    for parts in (("a b " * 8_000_000,), ("x" * 31_000_000,), (" " * 31_000_000,), (broken, "é" * 10_000_000)):
        with pytest.raises(ApiError, match="more than 8192 tokens of messages exceed the model's 4096") as caught:
            within(2, prepare, ask(*parts), nano, LIMITS)
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    with pytest.raises(ApiError, match="more than 8192 tokens"):
        within(2, prepare, ChatRequest("m", (*turns, last), Sampling(0.0)), nano, LIMITS)


def test_what_just_fits_is_not_refused_for_its_size(nano):
    """Few tokens of many characters, and many short messages."""
    word = "transformation"
    (token,) = nano.plain.encode(f" {word}", add_special_tokens=False).ids
    work = prepare(ask(" ".join(["a"] + [word] * 4000), max_tokens=1), nano, LIMITS)
    assert list(work.prompt.tokens).count(token) == 4000
    turns = [Message(role, ("a",)) for _ in range(300) for role in ("user", "assistant")]
    many = ChatRequest("m", (*turns, Message("user", ("a",))), Sampling(0.0), max_tokens=1)
    assert len(within(5, prepare, many, nano, LIMITS).prompt.tokens) > 2400


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_formats(kind):
    image = noise(20, 30)
    got = read_picture(PictureUrl(data_url(image, kind, **({"lossless": True} if kind == "WEBP" else {})), "p"))
    assert got.size == (30, 20)
    if kind not in ("JPEG", "GIF"):
        np.testing.assert_array_equal(np.asarray(got), np.asarray(image))


def test_sixteen_bits_of_gray_are_served_as_they_are_read_from_a_file():
    gray = np.asarray(noise(20, 30).convert("L"))
    for kind in ("PNG", "TIFF"):
        got = read_picture(PictureUrl(data_url(Image.fromarray(gray.astype(np.uint16) * 257), kind), "p"))
        np.testing.assert_array_equal(np.asarray(got)[..., 0], gray)


def written(data):
    """One picture's base64 in the ways that clients write it."""
    line, safe = base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()
    yield from (line, line.rstrip("="), safe, safe.rstrip("="), base64.encodebytes(data).decode())
    yield from ("\r\n".join(line[k : k + 64] for k in range(0, len(line), 64)), f" {line}\n", quote(line, safe=""))
    yield quote(base64.encodebytes(data).decode())


def test_base64_as_clients_write_it():
    for size in ((28, 28), (28, 29), (29, 29), (30, 31)):  # of several lengths, which need 0, 1 or 2 of padding
        out = io.BytesIO()
        noise(*size).save(out, "PNG")
        forms = list(written(out.getvalue()))
        assert len(set(forms)) >= 6 and any("_" in form and "-" in form for form in forms)
        for text in forms:
            assert decode_base64(text) == out.getvalue(), text[:100]
    heads = ("data:image/png;base64,", "DATA:Image/PNG;BASE64,", " data:image/x-png;name=a.png;charset=utf-8;base64,")
    for head in heads:
        assert read_picture(PictureUrl(head + forms[0], "p")).size == (31, 30)


@pytest.mark.parametrize("text", ["A", "AAAAA", "AA=A", "A===", "====A", "AA.A", "AAA\0", "ÀAAA", "%zzAA", "AA,AA"])
def test_what_is_no_base64(text):
    with pytest.raises(ValueError):
        decode_base64(text)


def test_photographs_stand_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera turned to the right
    assert read_picture(PictureUrl(data_url(noise(20, 30), "JPEG", exif=exif), "p")).size == (20, 30)


def test_bad_pictures_name_their_place():
    good = data_url(noise())
    wide = io.BytesIO()
    Image.new("1", (9_000, 6_000)).save(wide, "PNG")
    bomb = "data:image/png;base64," + base64.b64encode(wide.getvalue()).decode()
    cases = {
        "http://127.0.0.1/secret.png": "fetches nothing",
        "file:///etc/hostname": "fetches nothing",
        "data:text/html;base64,AAAA": "fetches nothing",
        "data:image/png,abc": "fetches nothing",
        "data:image/png;base64,@@@": "base64 is damaged",
        "data:image/png;base64,AAAA": "none of PNG",
        data_url(noise(), "EPS"): "none of PNG",
        good[: len(good) // 2 // 4 * 4]: "not a readable image",
        bomb: "9000x6000 pixels are more than",
    }
    for url, message in cases.items():
        with pytest.raises(ApiError, match=message) as caught:
            read_picture(PictureUrl(url, "messages[0].content[1].image_url.url"))
        assert caught.value.status == 400 and caught.value.param == "messages[0].content[1].image_url.url"
        assert str(caught.value).startswith("messages[0]") and len(str(caught.value)) < 250, url[:40]


def test_pictures_of_a_request_share_their_room(nano, monkeypatch):
    """Three pictures of 12,544 pixels each do not fit into 30,000."""
    monkeypatch.setattr("rrft_jax.serving.prepare.MAX_TOGETHER", 30_000)
    pictures = [PictureUrl(data_url(noise()), f"p{k}") for k in range(3)]
    limits = replace(LIMITS, max_images=3)
    assert len(prepare(ask(*pictures[:2]), nano, limits).prompt.patches) == 2
    with pytest.raises(ApiError, match="p2: .*the images of the request have more than") as caught:
        prepare(ask(*pictures), nano, limits)
    assert caught.value.status == 400 and caught.value.param == "p2"


def test_limits_are_checked():
    with pytest.raises(ValueError, match="power of two"):
        Limits(100, max_rows=12)
    with pytest.raises(ValueError, match="max_new_tokens=0"):
        Limits(100, max_new_tokens=0)
