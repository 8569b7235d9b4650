"""What the Variable of a stop says, whatever it holds."""

from __future__ import annotations

import json

import pendulum
import pytest

from airflow_provider_whitebit.client.errors import PERMANENT_ERRORS, WhiteBitLimitError, WhiteBitStoppedError
from airflow_provider_whitebit.moves.stop import Stop

AT = pendulum.datetime(2026, 11, 30, 8, 0, 0)


def test_a_stop_is_read_back():
    stop = Stop("jane", "the market is broken", AT)
    assert Stop.read(stop.to_text()) == stop
    assert stop.in_words == "since 2026-11-30 08:00:00 UTC by jane: the market is broken"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "false",
        "null",
        "0",
        "[]",
        "{",
        '{"by": "jane"}',
        '{"by": 1, "reason": "x", "at": null}',
        "resume",
        "[" * 9999,
    ],
)
def test_whatever_the_variable_holds_is_a_stop(text):
    stop = Stop.read(text)
    assert stop.by == "an unknown user"
    assert "whitebit_stop" in stop.reason
    assert isinstance(stop.error(), WhiteBitStoppedError)


@pytest.mark.parametrize("at", [None, "2026-11-30T08:00:00Z", "2026-11-30T10:00:00+02:00"])
def test_a_time_may_be_missing_or_of_another_zone(at):
    stop = Stop.read(json.dumps({"by": "jane", "reason": "why", "at": at}))
    assert stop.at == (None if at is None else AT)
    assert stop.in_words.endswith("by jane: why")


def test_the_error_says_who_when_why_and_how_to_go_on():
    error = Stop("jane", "the market\nis broken\x1b[31m", AT).error()
    assert isinstance(error, WhiteBitLimitError)
    assert isinstance(error, PERMANENT_ERRORS)
    assert str(Stop.read(Stop("jane", "the market\nis broken\x1b[31m", AT).to_text()).error()).splitlines() == [
        "All moves are stopped since 2026-11-30 08:00:00 UTC by jane: the market is broken [31m",
        "No money moved.",
        "Next steps:",
        "1. Ask the person who stopped them. When moves may go on: airflow whitebit resume --reason '...'",
        "2. Clear the task.",
    ]


def test_a_second_stop_names_both():
    stop = Stop("jane", "market", AT).joined_by("joe", "audit")
    assert stop == Stop("jane, joe", "market; audit", AT)
    assert stop.joined_by("joe", "audit") == stop
    assert stop.joined_by("joe", "market") == stop.joined_by("jane", "audit") == stop
    assert stop.joined_by("ann", "audit") == Stop("jane, joe, ann", "market; audit", AT)
    assert stop.joined_by("jane", "leave") == Stop("jane, joe", "market; audit; leave", AT)


def test_long_names_and_reasons_are_cut():
    for stop in (
        Stop.read(Stop("j" * 999, "r" * 9999, AT).to_text()),
        Stop("j", "r", AT).joined_by("j" * 999, "r" * 9999),
    ):
        assert (len(stop.by), len(stop.reason)) == (200, 1000)
    whole = Stop("j" * 200, "r" * 1000, AT)
    assert Stop.read(whole.to_text()) == whole


def test_many_stops_stay_short():
    stop = Stop("jane", "market", AT)
    for number in range(500):
        stop = stop.joined_by(f"user{number}", f"reason {number}" * 10)
    assert len(stop.to_text()) < 1_500
