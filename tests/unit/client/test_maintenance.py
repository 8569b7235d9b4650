"""The exchange's maintenance: its status, its words, and the error after the last try of a read."""

from __future__ import annotations

import json
import logging

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.endpoints import MAIN_BALANCE, PLATFORM_STATUS
from airflow_provider_whitebit.client.models import PlatformState, PlatformStatus
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import NO_RETRIES, RetryPolicy, Transport
from airflow_provider_whitebit.client.transport_http import HttpAnswer

PAGE = b"<html><head><title>503</title><style>p{}</style></head><body><h1>Maintenance</h1><p>until 04:00</p></body>"


def status(text):
    return HttpAnswer(200, {}, json.dumps({"status": text}).encode())


class Wire:
    """Answers the platform status as told, and every other call with the next of some answers."""

    def __init__(self, platform, *answers):
        self.platform, self.answers, self.paths = platform, list(answers), []

    def send(self, method, path, headers, body):
        self.paths.append(path)
        if path == PLATFORM_STATUS:
            return self.platform
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def close(self):
        pass


def client_of(wire, retry=NO_RETRIES):
    waits = []
    client = WhiteBitClient(Transport("http://x", Credentials("k", "s"), wire=wire, retry=retry, sleep=waits.append))
    client.waits = waits
    return client


UNAVAILABLE = HttpAnswer(503, {}, PAGE)


class TestStatus:
    @pytest.mark.parametrize(
        ("text", "operational", "maintenance"),
        [
            ("system operational", True, False),
            ("system maintenance", False, True),
            ("System Operational", False, False),
            ("partial outage", False, False),
            ("operational", False, False),
        ],
    )
    def test_any_other_text_is_neither_and_kept(self, text, operational, maintenance):
        found = client_of(Wire(status(text))).platform_status()
        assert (found.operational, found.maintenance, found.status) == (operational, maintenance, text)
        assert found.to_json() == {"status": text}

    def test_the_vendors_words(self):
        assert [PlatformStatus(word).operational for word in PlatformState] == [True, False]

    def test_a_text_is_kept_on_one_short_line(self):
        found = client_of(Wire(status("a\nforged line" + "x" * 10_000))).platform_status()
        assert found.status.startswith("a forged line")
        assert len(found.status) == e.LONGEST_QUOTE

    @pytest.mark.parametrize("body", [b"{}", b"[]", b'"system operational"', b'{"status":null}', b'{"status":1}', b"x"])
    def test_an_answer_without_a_text_is_no_answer(self, body):
        with pytest.raises(e.WhiteBitUnavailableError):
            client_of(Wire(HttpAnswer(200, {}, body))).platform_status()

    def test_an_unknown_status_is_logged_once(self, caplog):
        caplog.set_level(logging.WARNING)
        wire = Wire(status("partial outage"))
        client = client_of(wire)
        for _ in range(3):
            client.platform_status()
        assert [record.message for record in caplog.records] == [
            "The exchange's platform status is 'partial outage': neither operational nor maintenance"
        ]
        for text in ("system maintenance", "system operational"):
            wire.platform = status(text)
            client.platform_status()
        assert len(caplog.records) == 1


class TestReads:
    def test_a_read_waits_a_short_maintenance_out(self):
        good = HttpAnswer(200, {}, b'{"USDT":{"main_balance":"1"}}')
        wire = Wire(status("system maintenance"), UNAVAILABLE, UNAVAILABLE, good)
        client = client_of(wire, RetryPolicy(jitter=0))
        assert client.main_balance()
        assert client.waits == [1, 2]
        assert PLATFORM_STATUS not in wire.paths

    def test_the_end_of_its_patience_names_the_maintenance(self):
        wire = Wire(status("system maintenance"), UNAVAILABLE)
        client = client_of(wire, RetryPolicy(attempts=3, jitter=0))
        with pytest.raises(e.WhiteBitMaintenanceError) as caught:
            client.main_balance()
        assert wire.paths == [MAIN_BALANCE] * 3 + [PLATFORM_STATUS]
        assert client.waits == [1, 2]
        assert isinstance(caught.value, e.TRANSIENT_ERRORS)
        assert caught.value.retryable
        assert str(caught.value).splitlines() == [
            "The exchange is in maintenance.",
            "The exchange said: Maintenance until 04:00",
            f"Call: {MAIN_BALANCE}, HTTP 503",
            "No money moved.",
            f"Next step: {e.WhiteBitMaintenanceError.advice}",
        ]

    @pytest.mark.parametrize(
        "platform",
        [
            status("system operational"),
            status("partial maintenance"),
            UNAVAILABLE,
            HttpAnswer(404, {}, b'{"success":false,"message":"Not found","params":[]}'),
            HttpAnswer(200, {}, b"{}"),
        ],
    )
    def test_without_the_word_of_the_platform_it_is_unavailable(self, platform):
        with pytest.raises(e.WhiteBitUnavailableError) as caught:
            client_of(Wire(platform, UNAVAILABLE)).main_balance()
        assert type(caught.value) is e.WhiteBitUnavailableError
        assert caught.value.said == "Maintenance until 04:00"
        assert caught.value.money_moved is False

    @pytest.mark.parametrize("code", [500, 502, 504])
    def test_another_status_asks_nothing(self, code):
        wire = Wire(status("system maintenance"), HttpAnswer(code, {}, PAGE))
        with pytest.raises(e.WhiteBitUnavailableError):
            client_of(wire).main_balance()
        assert wire.paths == [MAIN_BALANCE]

    def test_a_platform_status_that_is_not_there_asks_nothing_more(self):
        wire = Wire(UNAVAILABLE)
        with pytest.raises(e.WhiteBitUnavailableError):
            client_of(wire).platform_status()
        assert wire.paths == [PLATFORM_STATUS]

    def test_a_move_stays_a_lost_answer(self):
        wire = Wire(status("system maintenance"), UNAVAILABLE)
        with pytest.raises(e.WhiteBitUnavailableError) as caught:
            client_of(wire)._transport._once(MAIN_BALANCE, {}, nonce=1)
        assert type(caught.value) is e.WhiteBitUnavailableError
        assert caught.value.money_moved is None
        assert wire.paths == [MAIN_BALANCE]
