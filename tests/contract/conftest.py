"""The client against the sandbox over HTTP."""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.client import throttle
from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import NO_RETRIES, Timeout, Transport
from airflow_provider_whitebit.hooks import asked, journals
from airflow_provider_whitebit.hooks import making as module
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.moves.drivers import execute_move
from airflow_provider_whitebit.testing import SandboxProcess


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[SandboxProcess]:
    process = SandboxProcess("--no-rate-limits")
    yield process
    process.stop()


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess) -> SandboxProcess:
    sandbox_process.reset()
    return sandbox_process


@pytest.fixture
def make_client(sandbox: SandboxProcess) -> Callable[..., WhiteBitClient]:
    """Makes clients; by default with the sandbox's usual key and without retries."""

    def make(key: str = "sandbox-key", secret: str | None = None, **options: object) -> WhiteBitClient:
        credentials = Credentials(key, secret or key.replace("-key", "-secret"))
        options.setdefault("retry", NO_RETRIES)
        options.setdefault("timeout", Timeout(connect=2, read=2))
        client = WhiteBitClient(Transport(sandbox.url, credentials, **options))
        if "clock" not in options:
            # The sandbox's clock stays where an earlier test has put it.
            client.server_time()
        return client

    return make


@pytest.fixture
def client(make_client: Callable[..., WhiteBitClient]) -> WhiteBitClient:
    return make_client()


@pytest.fixture
def make_hook(sandbox, monkeypatch):
    def make(key="sandbox-key", secret=None, host=None, kind="whitebit", **extra):
        connection = {
            "conn_type": kind,
            "login": key,
            "password": secret or key.replace("sandbox-key", "sandbox-secret"),
            "host": host or sandbox.url,
            "extra": {"settle_margin": 0, **extra},
        }
        monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", json.dumps(connection))
        # What earlier tests have sent, and were refused, does not hold this one back.
        alone = throttle.Throttle()
        monkeypatch.setattr(throttle, "shared", lambda base_url: alone)
        hook = WhiteBitHook()
        if host is None:
            # Waits pass on the sandbox's clock and on the client's: both show what they would after real waiting.
            ahead = 0

            def wait(seconds):
                nonlocal ahead
                whole = math.ceil(seconds)
                ahead += whole * 1000
                sandbox.advance(whole)

            monkeypatch.setattr(module, "execute_move", functools.partial(execute_move, sleep=wait))
            transport = hook.get_conn()._transport
            # The clock is one of the test's own, the nonces are those of every client with this key.
            nonces = transport.clock._nonces
            transport.clock = ExchangeClock(lambda: int(time.time() * 1000) + ahead, nonces)
            hook.get_conn().server_time()
        return hook

    return make


@pytest.fixture
def hook(make_hook):
    return make_hook()


@pytest.fixture
def as_task(monkeypatch):
    """Lets the hook run as in a TaskFlow task: ``as_task(2)`` is its second try."""
    kept: dict[str, object] = {}
    variables: dict[str, str] = {}
    store = SimpleNamespace(get=kept.get, set=lambda key, value, retention=None: kept.update({key: value}))
    monkeypatch.setattr(journals, "never_expire", lambda: None)
    monkeypatch.setattr(journals, "read_variable", variables.get)
    monkeypatch.setattr(journals, "keep_variable", lambda name, text, _: variables.update({name: text}))
    monkeypatch.setattr(asked, "_RUNS", {})

    def as_try(number):
        ids = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
        instance = SimpleNamespace(**ids, try_number=number, max_tries=3, task=SimpleNamespace(retries=3))
        monkeypatch.setattr(journals, "current_context", lambda: {"ti": instance, "task_state_store": store})

    return as_try
