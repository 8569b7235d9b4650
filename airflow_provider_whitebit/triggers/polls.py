"""Polls that all triggers of a triggerer share: one request for each question and interval, for any number of triggers.

Requests run in a few threads, with the same client that workers use: signing, retries, throttle and errors exist once,
and a slow exchange delays nothing but the polls themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from airflow_provider_whitebit.client.errors import (
    TRANSIENT_ERRORS,
    WhiteBitAuthenticationError,
    WhiteBitError,
    WhiteBitUnavailableError,
)
from airflow_provider_whitebit.hooks.airflow_compat import ask_airflow
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.treasury.conditions import Names, Question

log = logging.getLogger(__name__)

_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="whitebit-poll")


@dataclass(eq=False)
class Poll:
    """One question, repeated as long as at least one trigger waits for an answer.

    The connection is read before each request, so an edited or exchanged one counts within one interval.

    :param conn_id: the Airflow connection.
    :param question: what to ask the exchange.
    :param interval: seconds between two requests.
    :param sleep: waits, in seconds.
    """

    conn_id: str
    question: Question
    interval: float
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _waiting: dict[asyncio.Queue[Any], tuple[Callable[[], int | None], Names]] = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None
    _hook: WhiteBitHook | None = None
    #: Whether the connection could not be read at the beginning.
    _missing: bool = False

    async def answers(
        self, since: Callable[[], int | None] = lambda: None, names: Names | None = None
    ) -> AsyncIterator[Any]:
        """Yield each answer to a request that was sent after this call began.

        :param since: returns, before each request, the Unix second before which records do not matter.
        :param names: what the exchange must know.
        :raises Exception: no further request can help, for example with a wrong key or an unknown name.
        """
        queue: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
        self._waiting[queue] = since, names or Names()
        if self._task is None:
            _running()[self._key] = self
            self._task = asyncio.create_task(self._run(), name=f"whitebit-poll-{self.conn_id}-{self.question}")
        try:
            while True:
                answer = await queue.get()
                if isinstance(answer, Exception):
                    raise answer
                yield answer
        finally:
            del self._waiting[queue]
            if not self._waiting and self._task is not None:
                self._task.cancel()
                self._task = self._hook = None
                if _running().get(self._key) is self:
                    del _running()[self._key]

    @property
    def _key(self) -> tuple[str, Question, float]:
        return self.conn_id, self.question, self.interval

    async def _run(self) -> None:
        while True:
            for queue, answer in (await self._results(list(self._waiting))).items():
                if queue.full():
                    # A trigger that is still busy with the last answer gets only the latest one next.
                    with suppress(asyncio.QueueEmpty):
                        queue.get_nowait()
                queue.put_nowait(answer)
            await self.sleep(self.interval)

    async def _results(self, waiting: list[asyncio.Queue[Any]]) -> dict[asyncio.Queue[Any], Any]:
        """One answer, or one permanent error, for every trigger that waited when the request was sent."""
        asked = {queue: self._waiting[queue] for queue in waiting}
        moments = [since() for since, _ in asked.values()]
        since = None if None in moments or not moments else min(moment for moment in moments if moment is not None)
        unknown: dict[Names, WhiteBitError] = {}
        try:
            answer, unknown = await self._answer(since, {names for _, names in asked.values() if names})
        except TRANSIENT_ERRORS as error:
            log.info("No answer for %s, next request in %s s: %s", self.question, self.interval, error)
            return {}
        except Exception as error:
            self._hook = None
            answer = error
        results = {queue: unknown.get(names, answer) for queue, (_, names) in asked.items() if queue in self._waiting}
        return {queue: result for queue, result in results.items() if not isinstance(result, TRANSIENT_ERRORS)}

    async def _answer(self, since: int | None, names: set[Names]) -> tuple[Any, dict[Names, WhiteBitError]]:
        hook = await self._with_its_connection()
        request = partial(asyncio.get_running_loop().run_in_executor, _threads, _ask, hook, self.question, since, names)
        try:
            return await request()
        except WhiteBitAuthenticationError:
            # The key may have been exchanged since the connection was read.
            if not await ask_airflow(hook.reread_connection):
                raise
            return await request()

    async def _with_its_connection(self) -> WhiteBitHook:
        """The hook, whose connection has just been read. :raises Exception: it cannot be read, the second time."""
        hook = self._hook or WhiteBitHook(self.conn_id)
        try:
            await ask_airflow(hook.reread_connection)
        except WhiteBitError:
            raise
        except Exception as error:
            if self._hook is not None or self._missing:
                raise
            # The task has read it before it was deferred. All triggers of a new triggerer ask at the same time.
            self._missing = True
            raise WhiteBitUnavailableError(
                f"Airflow could not read connection {self.conn_id!r} ({type(error).__name__})."
            ) from error
        self._hook, self._missing = hook, False
        return hook


def _ask(
    hook: WhiteBitHook, question: Question, since: int | None, names: set[Names]
) -> tuple[Any, dict[Names, WhiteBitError]]:
    """The exchange's answer, and an error for each of the names that it does not know."""
    answer, unknown = hook.poll(question, since), {}
    for one in names:
        try:
            hook.require_known(question, one, answer)
        except WhiteBitError as error:
            if isinstance(error, TRANSIENT_ERRORS):
                log.info("Not certain whether the exchange knows %s: %s", one, error)
            unknown[one] = error
    return answer, unknown


# By event loop: a triggerer has one, tests have many.
_polls: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, Question, float], Poll]] = WeakKeyDictionary()


def _running() -> dict[tuple[str, Question, float], Poll]:
    return _polls.setdefault(asyncio.get_running_loop(), {})


def shared_poll(conn_id: str, question: Question, interval: float) -> Poll:
    """Return this triggerer's poll of a question. It is kept for as long as at least one trigger waits.

    :param conn_id: the Airflow connection.
    :param question: what to ask the exchange.
    :param interval: seconds between two requests.
    """
    return _running().get((conn_id, question, interval)) or Poll(conn_id, question, interval)
