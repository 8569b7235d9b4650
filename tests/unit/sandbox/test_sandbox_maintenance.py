"""The exchange's planned maintenance."""

from __future__ import annotations

import json

import pytest

STATUS = "/api/v4/public/platform/status"
NOTICE = "Maintenance <until> 04:00 UTC"


def status_of(bench):
    answer = bench.exchange.handle("GET", STATUS, {}, b"")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    return json.loads(answer.body)


def test_only_the_platform_status_answers(bench):
    assert status_of(bench) == {"status": "system operational"}
    bench.exchange.maintenance = NOTICE
    assert status_of(bench) == {"status": "system maintenance"}
    bench.exchange.maintenance = None
    assert status_of(bench) == {"status": "system operational"}
    assert bench.balance() == "10000"


@pytest.mark.parametrize("path", ["/api/v4/public/time", "/api/v4/public/assets", "/api/v4/public/nonsense"])
def test_public_calls_are_not_json(bench, path):
    bench.exchange.maintenance = NOTICE
    answer = bench.exchange.handle("GET", path, {}, b"")
    assert (answer.status, answer.headers["Content-Type"]) == (503, "text/plain")
    assert answer.body.decode() == NOTICE
    assert answer.headers["Date"]


def test_private_calls_are_html_and_execute_nothing(bench):
    plan = bench.exchange.scenario.plans[0].id
    bench.exchange.maintenance = NOTICE
    nonce = bench.nonce()
    params = {"plan": plan, "amount": "500", "nonce": nonce}
    path = "/api/v4/main-account/smart-flex/investments/invest"
    answer = bench.send_call(path, params)
    assert (answer.status, answer.headers["Content-Type"]) == (503, "text/html")
    assert "Maintenance &lt;until&gt; 04:00 UTC" in answer.body.decode()
    assert bench.exchange.moves() == []
    seen = bench.exchange.requests_view()[-1]
    assert (seen["path"], seen["status"], seen["nonce"]) == (path, 503, nonce)
    bench.exchange.maintenance = None
    # The gateway used up no nonce.
    assert bench.send_call(path, params).status == 201


def test_the_status_is_read_only(bench):
    assert bench.exchange.handle("POST", STATUS, {}, b"{}").status == 405


def test_reset_ends_it(bench):
    bench.exchange.maintenance = NOTICE
    bench.exchange.reset()
    assert status_of(bench) == {"status": "system operational"}
