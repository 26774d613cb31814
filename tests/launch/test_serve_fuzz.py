"""The server as a user starts it, under thousands of broken requests: none is its own error, none costs much, nothing
is printed, and a good request afterwards is answered."""

import http.client
import json
import socket
import struct
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import openai
import pytest

from tests.serving.mutations import mutant
from tests.web import WAIT, serving

AT_ONCE, LONGEST = 6, 200  # seconds for one answer: some wait for programs that are compiled for others
ANSWERS = {200, 400, 403, 404, 405, 408, 413, 415, 503}


def ask(place, request):
    """The status of the answer, 'left' where the client did not wait, or 'closed' where none came, and the seconds."""
    begun = time.monotonic()
    try:
        with socket.create_connection(place, timeout=WAIT) as connection:
            if request.leave == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(request.sent)
            if request.leave:
                return "left", time.monotonic() - begun
            # To HEAD no body comes, whatever length is announced.
            reply = http.client.HTTPResponse(connection, method="HEAD" if request.sent.startswith(b"HEAD ") else None)
            reply.begin()
            said = reply.read()
    except (ConnectionError, http.client.BadStatusLine):
        return "closed", time.monotonic() - begun
    except http.client.HTTPException as error:
        raise AssertionError(f"{error!r} after {request.sent[:2000]!r}") from error
    if reply.status != 200 and reply.headers.get_content_type() == "application/json" and said:
        assert json.loads(said)["error"]["message"]
    return reply.status, time.monotonic() - begun


def fuzz(seed, count):
    options = ("--max_new_tokens=4", "--max_rows=2", "--max_waiting=32", "--max_mb=1", "--compilation_cache=")
    with serving(*options) as (process, url), ThreadPoolExecutor(AT_ONCE) as pool:
        place = urlsplit(url).hostname, urlsplit(url).port
        answers = list(pool.map(lambda k: ask(place, mutant(seed, k)), range(count)))
        strange = {k: status for k, (status, _) in enumerate(answers) if status not in ANSWERS | {"left", "closed"}}
        assert not strange, f"mutant({seed}, k) of {strange}"
        assert max(seconds for _, seconds in answers) < LONGEST
        found = Counter(status for status, _ in answers)
        assert found[200] >= count // 20 and found[400] >= count // 5, found
        with openai.OpenAI(base_url=url, api_key="none", timeout=WAIT, max_retries=0) as client:
            hello = [{"role": "user", "content": "Hello"}]
            good = client.chat.completions.create(model="nano", messages=hello, temperature=0)
            again = client.chat.completions.create(
                model="nano", messages=[*hello, good.choices[0].message, *hello], temperature=0, stop=["\n"]
            )
            assert client.models.retrieve("nano").id == "nano"
        assert good.usage.completion_tokens > 0 and again.usage.prompt_tokens > good.usage.prompt_tokens
        assert process.poll() is None
        process.terminate()
        out, err = process.communicate(timeout=WAIT)
    assert out == "" and err == "", "a client's mistakes are told to the client alone"


def test_mutated_requests():
    fuzz(seed=0, count=100)


@pytest.mark.slow
def test_many_mutated_requests():
    fuzz(seed=1, count=2000)
