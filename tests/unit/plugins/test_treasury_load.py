"""Many viewers: how many requests are answered at once, who waits, and how much of the time the page works."""

from __future__ import annotations

import asyncio
import threading

import pytest

pytest.importorskip("fastapi")

from airflow_provider_whitebit.plugins.treasury_load import Pace, Places


class Viewer:
    """A request, as an ASGI server hands it to an application.

    :param app: the application.
    :param path: names the request.
    """

    def __init__(self, app, path, method="GET"):
        self.gone, self.answered = asyncio.Event(), []
        self.readable = asyncio.Event()
        self.readable.set()
        self._asked = False
        scope = {"type": "http", "method": method, "path": path, "headers": []}
        self.task = asyncio.create_task(app(scope, self.receive, self.send))

    async def receive(self):
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.answered.append(message)
        if message["type"] == "http.response.body":
            await self.readable.wait()

    @property
    def status(self):
        return self.answered[0]["status"] if self.answered else None


class Application:
    """An application whose answers a test allows one by one."""

    def __init__(self):
        self.began, self._may_answer = [], {}

    async def __call__(self, scope, receive, send):
        self.began.append(scope["path"])
        await self.may_answer(scope["path"]).wait()
        if scope["path"] == "broken":
            raise ZeroDivisionError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"answer"})

    def may_answer(self, path):
        return self._may_answer.setdefault(path, asyncio.Event())


async def settled():
    """Let all that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


def scene(most=1):
    application = Application()
    return application, Places(application, most=most, headers={"X-Test": "yes"})


def test_requests_wait_in_their_order():
    async def main():
        application, places = scene(most=2)
        viewers = [Viewer(places, path) for path in "abcd"]
        await settled()
        assert application.began == ["a", "b"]
        for path in "abcd":
            application.may_answer(path).set()
            await settled()
        assert application.began == ["a", "b", "c", "d"]
        assert [viewer.status for viewer in viewers] == [200] * 4
        assert (b"x-test", b"yes") in viewers[3].answered[0]["headers"]

    asyncio.run(main())


@pytest.mark.parametrize("waiting", [1, 3])
def test_a_viewer_who_goes_away_leaves_the_queue(waiting):
    async def main():
        application, places = scene()
        first = Viewer(places, "first")
        await settled()
        leaving = [Viewer(places, f"leaving {number}") for number in range(waiting)]
        last = Viewer(places, "last")
        await settled()
        for viewer in leaving:
            viewer.gone.set()
        await settled()
        assert [viewer.status for viewer in leaving] == [499] * waiting
        application.may_answer("first").set()
        application.may_answer("last").set()
        await settled()
        assert application.began == ["first", "last"]
        assert (first.status, last.status) == (200, 200)
        # The place is free again.
        application.may_answer("next").set()
        following = Viewer(places, "next")
        await settled()
        assert following.status == 200

    asyncio.run(main())


def test_a_viewer_who_goes_away_as_a_place_becomes_free_takes_none():
    async def main():
        application, places = scene()
        Viewer(places, "first")
        await settled()
        leaving, last = Viewer(places, "leaving"), Viewer(places, "last")
        await settled()
        application.may_answer("last").set()
        application.may_answer("first").set()
        leaving.gone.set()
        await settled()
        assert last.status == 200
        assert leaving.status in (499, None)
        application.may_answer("leaving").set()
        await settled()
        assert leaving.status in (499, 200)

    asyncio.run(main())


def test_a_request_that_is_cancelled_takes_no_place():
    async def main():
        application, places = scene()
        Viewer(places, "first")
        await settled()
        cancelled, last = Viewer(places, "cancelled"), Viewer(places, "last")
        await settled()
        cancelled.task.cancel()
        for path in ("first", "last"):
            application.may_answer(path).set()
        await settled()
        assert cancelled.task.cancelled()
        assert last.status == 200
        assert application.began == ["first", "last"]

    asyncio.run(main())


def test_what_changes_something_is_done_although_its_viewer_has_gone():
    async def main():
        application, places = scene()
        Viewer(places, "first")
        await settled()
        change = Viewer(places, "change", method="POST")
        change.gone.set()
        await settled()
        for path in ("first", "change"):
            application.may_answer(path).set()
        await settled()
        assert application.began == ["first", "change"]
        assert change.status == 200

    asyncio.run(main())


@pytest.mark.parametrize("order", ["stop", "resume"])
def test_an_order_does_not_wait_for_viewers(order):
    async def main():
        application, places = scene()
        Viewer(places, "first")
        Viewer(places, "second")
        await settled()
        application.may_answer(f"/whitebit/api/{order}").set()
        given = Viewer(places, f"/whitebit/api/{order}", method="POST")
        await settled()
        assert (given.status, application.began) == (200, ["first", f"/whitebit/api/{order}"])
        assert (b"x-test", b"yes") in given.answered[0]["headers"]
        # It has taken no place, and has freed none.
        third = Viewer(places, "third")
        for path in ("first", "second"):
            application.may_answer(path).set()
        await settled()
        assert application.began[2:] == ["second", "third"]
        third.task.cancel()

    asyncio.run(main())


def test_a_viewer_who_reads_slowly_holds_no_place():
    async def main():
        application, places = scene()
        for path in ("slow", "next"):
            application.may_answer(path).set()
        slow = Viewer(places, "slow")
        slow.readable.clear()
        await settled()
        following = Viewer(places, "next")
        await settled()
        assert (slow.task.done(), following.status) == (False, 200)
        slow.readable.set()
        await slow.task

    asyncio.run(main())


class Sender(Viewer):
    """A viewer who sends a body in parts, and then nothing more; the last part is not the end."""

    def __init__(self, app, path, *parts, ends=False):
        self.parts, self.ends = list(parts), ends
        super().__init__(app, path, method="POST")

    async def receive(self):
        if self.parts:
            part = self.parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self.parts) or not self.ends}
        await self.gone.wait()
        return {"type": "http.disconnect"}


def test_a_viewer_who_sends_slowly_holds_no_place():
    async def main():
        application, places = scene()
        slow = [Sender(places, "slow"), Sender(places, "slow", b"{")]
        await settled()
        application.may_answer("next").set()
        following = Viewer(places, "next")
        await settled()
        assert (application.began, following.status) == (["next"], 200)
        for viewer in slow:
            viewer.gone.set()
        await settled()
        assert [viewer.status for viewer in slow] == [499, 499]

    asyncio.run(main())


def test_a_body_arrives_as_it_was_sent():
    async def main():
        arrived = []

        async def application(scope, receive, send):
            arrived.append([await receive(), await receive()])

        sender = Sender(Places(application, most=1, headers={}), "change", b"{", b"}", ends=True)
        await settled()
        sender.gone.set()
        await sender.task
        whole = {"type": "http.request", "body": b"{}", "more_body": False}
        assert arrived == [[whole, {"type": "http.disconnect"}]]

    asyncio.run(main())


def test_a_body_that_is_too_long_is_refused():
    async def main():
        application, places = scene()
        sender = Sender(places, "large", *[10_000 * b"x"] * 11)
        await settled()
        assert (sender.status, application.began) == (413, [])

    asyncio.run(main())


def test_an_error_frees_the_place():
    async def main():
        application, places = scene()
        for path in ("broken", "next"):
            application.may_answer(path).set()
        broken = Viewer(places, "broken")
        await asyncio.wait({broken.task})
        assert isinstance(broken.task.exception(), ZeroDivisionError)
        following = Viewer(places, "next")
        await settled()
        assert following.status == 200

    asyncio.run(main())


class Clock:
    def __init__(self):
        self.now, self.slept = 100.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(("work", "pause"), [(0.0, 0.0), (0.02, 0.02), (0.5, 0.5), (9.0, 0.5)])
def test_after_work_comes_a_pause_of_the_same_length(work, pause):
    clock = Clock()
    pace = Pace(0.5, clock=clock, sleep=clock.sleep)
    for _ in range(3):
        with pace.turn():
            clock.now += work
    assert clock.slept == [pytest.approx(wait) for wait in (0.0, pause, pause)]


def test_a_pause_that_is_over_is_not_waited_for():
    clock = Clock()
    pace = Pace(clock=clock, sleep=clock.sleep)
    with pace.turn():
        clock.now += 0.1
    clock.now += 0.04
    with pytest.raises(ZeroDivisionError), pace.turn():
        clock.now += 1 / 0
    clock.now += 5
    with pace.turn():
        pass
    assert clock.slept == [0.0, pytest.approx(0.06), 0.0]


def test_one_request_works_at_a_time():
    pace, working, met = Pace(0), threading.Lock(), []
    together = threading.Barrier(8)

    def work():
        together.wait(60)
        for _ in range(50):
            with pace.turn():
                met.append(working.acquire(blocking=False))
                working.release()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert met == [True] * 400
