"""The cache: many viewers, few requests, and no viewer waits for another."""

from __future__ import annotations

import threading

import pytest

from airflow_provider_whitebit.plugins.treasury_cache import SingleFlightCache


class Clock:
    now = 0

    def __call__(self):
        return self.now


def test_a_fresh_value_is_not_loaded_again():
    clock, loads = Clock(), []
    cache = SingleFlightCache(15, clock=clock)

    def load():
        loads.append(clock.now)
        return len(loads)

    assert [cache.get("a", load) for _ in range(3)] == [1, 1, 1]
    clock.now = 14
    assert cache.get("a", load) == 1
    clock.now = 15
    assert cache.get("a", load) == 2
    assert cache.get("b", load) == 3


def test_during_a_load_others_get_the_previous_value_or_none():
    clock = Clock()
    cache = SingleFlightCache(15, concurrent=2, clock=clock)
    loading, finish = threading.Event(), threading.Event()

    def slowly():
        loading.set()
        assert finish.wait(10)
        return "new"

    cache.get("a", lambda: "old")
    clock.now = 20
    threads = [threading.Thread(target=cache.get, args=(name, slowly), daemon=True) for name in ("a", "b")]
    for thread in threads:
        loading.clear()
        thread.start()
        assert loading.wait(10)
    assert cache.get("a", pytest.fail) == "old"
    assert cache.get("b", pytest.fail) is None
    # Two loads run, which is the most.
    assert cache.get("c", pytest.fail) is None
    finish.set()
    for thread in threads:
        thread.join(10)
    assert cache.get("a", pytest.fail) == "new"


def test_an_old_value_is_not_shown_as_if_it_were_of_now():
    clock = Clock()
    cache = SingleFlightCache(15, old=300, concurrent=0, clock=clock)
    cache._concurrent = 1
    cache.get("a", lambda: "old")
    cache._concurrent = 0
    clock.now = 299
    assert cache.get("a", pytest.fail) == cache.kept("a") == "old"
    clock.now = 300
    assert cache.get("a", pytest.fail) is cache.kept("a") is None


def test_a_load_that_fails_leaves_nothing_behind():
    cache = SingleFlightCache()
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: 1 // 0)
    assert cache.get("a", lambda: 1) == 1


def test_the_oldest_value_is_dropped_when_the_cache_is_full():
    cache = SingleFlightCache(capacity=2)
    for name in "abc":
        cache.get(name, lambda: name)  # noqa: B023
    assert cache.get("c", pytest.fail) == "c"
    assert cache.get("a", lambda: "again") == "again"
