"""The client against the sandbox over HTTP."""

from __future__ import annotations

import datetime
import json
import math
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.client import shared, throttle
from airflow_provider_whitebit.client._moving import MovingClient
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.shared import SharedInt64Array
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import NO_RETRIES, Timeout, Transport
from airflow_provider_whitebit.hooks import executor, journals, stores, task_run
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.testing import SandboxProcess
from tests.texts import all_by

#: The nonces of this process's tests. Other processes have sandboxes whose clocks are at other times.
NONCES: dict[str, SharedInt64Array] = {}


@pytest.fixture(scope="session")
def tls_certificate(tmp_path_factory):
    """Paths of a certificate for ``exchange.test``, and of its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "exchange.test")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("exchange.test")]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(signed.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    return folder / "cert.pem", folder / "key.pem"


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
def make_client(sandbox: SandboxProcess) -> Callable[..., MovingClient]:
    """Makes clients; by default with the sandbox's usual key and without retries."""

    def make(key: str = "sandbox-key", secret: str | None = None, **options: object) -> MovingClient:
        credentials = Credentials(key, secret or key.replace("-key", "-secret"))
        options.setdefault("retry", NO_RETRIES)
        options.setdefault("timeout", Timeout(connect=2, read=2))
        client = MovingClient(Transport(sandbox.url, credentials, **options))
        if "clock" not in options:
            # The sandbox's clock stays where an earlier test has put it.
            client.server_time()
        return client

    return make


@pytest.fixture
def client(make_client: Callable[..., MovingClient]) -> MovingClient:
    return make_client()


@pytest.fixture
def make_hook(sandbox, monkeypatch):
    ahead, made = 0, []

    def make(key="sandbox-key", secret=None, host=None, kind="whitebit", **extra):
        connection = {
            "conn_type": kind,
            "login": key,
            "password": secret or key.replace("sandbox-key", "sandbox-secret"),
            "host": host or sandbox.url,
            "extra": {"reconcile_margin": 0, **extra},
        }
        monkeypatch.setenv("AIRFLOW_CONN_WHITEBIT_DEFAULT", json.dumps(connection))
        # What earlier tests have sent, and were refused, does not hold this one back.
        alone = throttle.Throttle()
        monkeypatch.setattr(throttle, "shared", lambda base_url: alone)
        monkeypatch.setattr(shared, "shared_array", lambda name, size: NONCES.setdefault(name, SharedInt64Array(size)))
        hook = WhiteBitHook()
        if host is None:
            # Waits pass on the sandbox's clock and on those of all hooks: they show what they would after real waiting.
            def wait(seconds):
                nonlocal ahead
                whole = math.ceil(seconds)
                ahead += whole * 1000
                sandbox.advance(whole)

            monkeypatch.setattr(executor.MoveExecutor, "sleep", staticmethod(wait))
            transport = hook.get_conn()._transport
            # The clock is one of the test's own, the nonces are those of every client with this key.
            nonces = transport.clock._nonces
            transport.clock = ExchangeClock(lambda: int(time.time() * 1000) + ahead, nonces)
            left = -hook.get_conn().server_time().int_timestamp % 3600
            if not made and left < 1200:
                # When an hour ends, interest accrues, which few tests expect.
                wait(left + 1)
            made.append(hook)
        return hook

    return make


@pytest.fixture
def hook(make_hook):
    return make_hook()


@pytest.fixture
def as_task(monkeypatch):
    """Lets the hook run as in a task: ``as_task(2)`` is its second try, ``as_task(1, task="b")`` another task."""
    variables: dict[str, str] = {}
    monkeypatch.setattr(stores, "read_variables", all_by(variables.get))
    monkeypatch.setattr(stores, "keep_variable", lambda name, text, _: variables.update({name: text}))
    monkeypatch.setattr(stores, "delete_variable", lambda name: variables.pop(name, None))
    monkeypatch.setattr(task_run, "_RUNS", {})

    def as_try(
        number,
        *,
        dag="d",
        run="r",
        task="t",
        index=-1,
        started="1",
        cleared=0,
        max_tries=3,
        indexes=10,
        date=None,
        user=None,
    ):
        ids = {"dag_id": dag, "run_id": run, "task_id": task, "map_index": index}
        retries = SimpleNamespace(retries=3)
        instance = SimpleNamespace(**ids, try_number=number, max_tries=max_tries, task=retries)
        instance.get_ti_count = lambda **about: indexes
        dag_run = SimpleNamespace(
            start_date=started, clear_number=cleared, logical_date=date, triggering_user_name=user
        )
        context = {"ti": instance, "dag_run": dag_run}
        monkeypatch.setattr(journals, "current_context", lambda: context)

    as_try.variables = variables
    return as_try
