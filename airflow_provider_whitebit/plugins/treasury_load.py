"""How much of an API server the Treasury page may use, however many people look at it.

All of an API server process shares one event loop, about 40 threads and one interpreter lock, and Airflow's own pages
need them too. So few requests of the page are answered at the same time (:class:`Places`), and their work takes at most
half of the time of one thread (:class:`Pace`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from fastapi.responses import Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: The orders of people, which must not wait for viewers.
_AT_ONCE = ("/api/stop", "/api/resume")
#: The status of an answer that nobody receives, as in nginx's log.
_VIEWER_HAS_GONE = 499
#: The status of an answer to too long a body, and the most bytes of a body. What people write is far shorter.
_TOO_LONG, _LONGEST_BODY = 413, 100_000


class Places:
    """ASGI middleware: answer a limited number of requests at the same time. The others wait, in their order.

    To stop and resume moves takes no place, and does not wait: it needs neither the exchange nor much of the database.

    A waiting request holds no thread and no database connection. It leaves the queue when its viewer goes away. A body
    is read before a place is taken, and a place is free again as soon as the answer is ready. So a viewer who sends or
    reads slowly holds none.

    :param app: the application.
    :param most: most requests at the same time.
    :param headers: added to every answer.
    """

    def __init__(self, app: ASGIApp, *, most: int, headers: Mapping[str, str]) -> None:
        self._app, self._headers = app, headers
        self._places = asyncio.Semaphore(most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] != "GET":
            body = await _body(receive)
            if isinstance(body, int):
                await Response(status_code=body, headers=self._headers)(scope, receive, send)
                return
            receive = _again(body, receive)
        at_once = scope["path"].endswith(_AT_ONCE)
        if not at_once and not await self._entered(scope, receive):
            # Airflow's middleware logs an error if there is no answer.
            await Response(status_code=_VIEWER_HAS_GONE)(scope, receive, send)
            return
        places = [] if at_once else [self._places]

        def leave() -> None:
            if places:
                places.pop().release()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                leave()
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            leave()

    async def _entered(self, scope: Scope, receive: Receive) -> bool:
        """Wait for a place. :returns: False if the viewer has gone before there was one."""
        # Whatever changes something is done even if its viewer has gone. Only a request without a body can be watched.
        if not self._places.locked() or scope["method"] != "GET":
            return await self._places.acquire()
        place, gone = asyncio.create_task(self._places.acquire()), asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({place, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            entered = place.done() and not gone.done()
            for task in (place, gone):
                task.cancel()
            await asyncio.gather(place, gone, return_exceptions=True)
            if not entered and not place.cancelled():
                self._places.release()
        return entered


async def _body(receive: Receive) -> bytes | int:
    """The body of a request; the status of the answer if it is too long, or if its viewer has gone before its end."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return _VIEWER_HAS_GONE
        body += message.get("body", b"")
        if len(body) > _LONGEST_BODY:
            return _TOO_LONG
        more = message.get("more_body", False)
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what receives a body that was read, and then what follows."""
    left = [body]

    async def receive_again() -> Message:
        return {"type": "http.request", "body": left.pop(), "more_body": False} if left else await receive()

    return receive_again


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Pace:
    """One request works at a time, and after it none works for as long as its work took.

    Threads that compute compete with Airflow's own for the interpreter lock. With one of them for at most half of the
    time, Airflow's own pages take less than twice their usual time.

    :param longest_pause: most seconds of a pause, so that a slow database does not stop the page.
    :param clock: seconds that only go forward.
    :param sleep: waits for some seconds.
    """

    def __init__(
        self,
        longest_pause: float = 0.5,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._longest_pause, self._clock, self._sleep = longest_pause, clock, sleep
        self._turn = threading.Lock()
        self._free_at = clock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for this request's turn. It must not hold a database connection meanwhile, nor wait for the exchange."""
        with self._turn:
            self._sleep(max(0.0, self._free_at - self._clock()))
            begin = self._clock()
            try:
                yield
            finally:
                end = self._clock()
                self._free_at = end + min(end - begin, self._longest_pause)


#: Of all routes that read Airflow's database.
pace = Pace()
