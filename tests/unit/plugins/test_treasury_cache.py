"""Many viewers, few requests, and nobody waits in line."""

from __future__ import annotations

import threading

import pytest

from airflow_provider_whitebit.plugins.treasury_cache import Glances


class Clock:
    now = 0

    def __call__(self):
        return self.now


def test_what_was_just_seen_is_not_looked_at_again():
    clock, looks = Clock(), []
    glances = Glances(15, monotonic=clock)

    def look():
        looks.append(clock.now)
        return len(looks)

    assert [glances.get("a", look) for _ in range(3)] == [1, 1, 1]
    clock.now = 14
    assert glances.get("a", look) == 1
    clock.now = 15
    assert glances.get("a", look) == 2
    assert glances.get("b", look) == 3


def test_whoever_comes_while_somebody_looks_is_given_the_older_or_nothing():
    clock = Clock()
    glances = Glances(15, at_once=2, monotonic=clock)
    looking, seen = threading.Event(), threading.Event()

    def slowly():
        looking.set()
        assert seen.wait(10)
        return "new"

    glances.get("a", lambda: "old")
    clock.now = 20
    threads = [threading.Thread(target=glances.get, args=(name, slowly), daemon=True) for name in ("a", "b")]
    for thread in threads:
        looking.clear()
        thread.start()
        assert looking.wait(10)
    assert glances.get("a", pytest.fail) == "old"
    assert glances.get("b", pytest.fail) is None
    # So many at once, and no more.
    assert glances.get("c", pytest.fail) is None
    seen.set()
    for thread in threads:
        thread.join(10)
    assert glances.get("a", pytest.fail) == "new"


def test_a_look_that_fails_leaves_nothing_behind():
    glances = Glances()
    with pytest.raises(ZeroDivisionError):
        glances.get("a", lambda: 1 // 0)
    assert glances.get("a", lambda: 1) == 1


def test_only_so_many_are_remembered():
    glances = Glances(most=2)
    for name in "abc":
        glances.get(name, lambda: name)  # noqa: B023
    assert glances.get("c", pytest.fail) == "c"
    assert glances.get("a", lambda: "again") == "again"
