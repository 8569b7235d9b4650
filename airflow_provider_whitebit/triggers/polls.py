"""Polls that all triggers of a triggerer share: one request for each question and interval, however many wait.

Requests run in a few threads with the same client that workers use: signing, retries, throttle and errors are written
once, and a slow exchange holds up nothing but the polls themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from airflow_provider_whitebit.client.errors import PASSING, WhiteBitAuthenticationError
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.treasury.conditions import Question

log = logging.getLogger(__name__)

_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="whitebit-poll")


@dataclass(eq=False)
class Poll:
    """One question, asked again and again as long as somebody wants its answer.

    :param conn_id: the Airflow connection.
    :param question: what is asked.
    :param interval: seconds between two questions.
    :param sleep: waits, in seconds.
    """

    conn_id: str
    question: Question
    interval: float
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _waiting: dict[asyncio.Queue[Any], Callable[[], int | None]] = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None
    _hook: WhiteBitHook | None = None

    async def answers(self, since: Callable[[], int | None] = lambda: None) -> AsyncIterator[Any]:
        """Each answer whose question was asked after this began.

        :param since: tells, before each question, the Unix second before which records do not matter.
        :raises Exception: what makes further questions pointless, for example a wrong key.
        """
        queue: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
        self._waiting[queue] = since
        if self._task is None:
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
                self._task = None

    async def _run(self) -> None:
        while True:
            asked = list(self._waiting)
            for queue, answer in (await self._ask(asked)).items():
                if queue.full():
                    # Whoever is still busy with the last answer gets the latest one next.
                    with suppress(asyncio.QueueEmpty):
                        queue.get_nowait()
                queue.put_nowait(answer)
            await self.sleep(self.interval)

    async def _ask(self, asked: list[asyncio.Queue[Any]]) -> dict[asyncio.Queue[Any], Any]:
        """One answer, or one error that does not pass, for everybody who was there when the question was asked."""
        moments = [self._waiting[queue]() for queue in asked if queue in self._waiting]
        since = None if None in moments or not moments else min(moment for moment in moments if moment is not None)
        try:
            answer = await self._answer(since)
        except PASSING as error:
            log.info("No answer for %s, once more in %s s: %s", self.question, self.interval, error)
            return {}
        except Exception as error:
            self._hook = None
            answer = error
        return {queue: answer for queue in asked if queue in self._waiting}

    async def _answer(self, since: int | None) -> Any:
        fresh = self._hook is None
        try:
            return await self._observe(since)
        except WhiteBitAuthenticationError:
            if fresh:
                raise
            # The key may have been changed in the connection since it was read.
            self._hook = None
            return await self._observe(since)

    async def _observe(self, since: int | None) -> Any:
        if self._hook is None:
            hook = WhiteBitHook(self.conn_id)
            # Airflow hands connections to triggers through asgiref's thread.
            await sync_to_async(hook.get_conn)()
            self._hook = hook
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_threads, self._hook.observe, self.question, since)


# By event loop: a triggerer has one, tests have many.
_polls: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, Question, float], Poll]] = WeakKeyDictionary()


def shared_poll(conn_id: str, question: Question, interval: float) -> Poll:
    """The poll of this triggerer for a question.

    :param conn_id: the Airflow connection.
    :param question: what is asked.
    :param interval: seconds between two questions.
    """
    polls = _polls.setdefault(asyncio.get_running_loop(), {})
    return polls.setdefault((conn_id, question, interval), Poll(conn_id, question, interval))
