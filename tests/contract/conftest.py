"""The client against the sandbox over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import NO_RETRIES, Timeout, Transport
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
