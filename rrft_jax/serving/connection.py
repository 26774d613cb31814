"""One connection to the server: uvicorn's, with deadlines. uvicorn itself waits for ever for the rest of a request, and
for a client that does not read its answer."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"


class Connection(H11Protocol):
    """A request, head and body, must arrive within `patience` seconds and one more for each `rate` bytes of it; one
    that was answered before its end is read on for `patience` seconds at most. A client that takes nothing for `stuck`
    seconds while its answer waits is given up. `most` may be connected at once: below the usual limit of 1024 open
    files, at which nobody could connect any more."""

    patience, rate, stuck, most = 20.0, 10_000, 60.0, 512
    _clock: asyncio.TimerHandle | None = None  # runs while a request arrives
    _begun, _received = 0.0, 0  # of that request: when, and bytes
    _early = False  # it was answered before its end
    _jam: asyncio.TimerHandle | None = None  # runs while nothing can be written

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.write(_FULL)
            transport.close()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)
        if self._early and self.conn.their_state is not h11.SEND_BODY:
            self._stop_clock()
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:  # of this request, or already of the next one
            self._early = self.conn.our_state is h11.DONE
            self._watch()

    def send_400_response(self, msg: str) -> None:
        """Nonsense came: in a head, or in a body whose request may be at work or answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # so that the application does not answer a second time
            self.cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.transport.close()

    def shutdown(self) -> None:
        super().shutdown()
        if self.conn.their_state is h11.SEND_BODY:  # half of a request is not waited for
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._jam = self.loop.call_later(self.stuck, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._jam = _stop(self._jam)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_clock()
        self._jam = _stop(self._jam)

    def _watch(self) -> None:
        """Starts the clock for a request of which a part is there, stops it where the whole is."""
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop_clock()
        elif self._clock is None and not self.transport.is_closing():
            self._begun = self.loop.time()
            self._clock = self.loop.call_later(self.patience, self._late)

    def _stop_clock(self) -> None:
        self._clock, self._received, self._early = _stop(self._clock), 0, False

    def _late(self) -> None:
        answered = self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE)
        left = self._begun + self.patience + self._received / self.rate - self.loop.time()
        if left > 0 and not answered:
            self._clock = self.loop.call_later(min(left, self.patience), self._late)
            return
        if self._received and not answered:
            self.transport.write(_LATE)
        self.transport.close()


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
