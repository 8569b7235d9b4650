"""The transport of a connection: its settings, the nonces and the throttle that this machine's processes share."""

from __future__ import annotations

import time

from airflow_provider_whitebit.client import shared, throttle
from airflow_provider_whitebit.client.clock import ExchangeClock
from airflow_provider_whitebit.client.errors import WhiteBitRateLimitError
from airflow_provider_whitebit.client.transport import RetryPolicy, Timeout, Transport
from airflow_provider_whitebit.hooks.metrics import request_metrics
from airflow_provider_whitebit.hooks.settings import Settings


def make_transport(
    settings: Settings, *, timeout: int | None = None, retries: int | None = None, all_calls: int | None = None
) -> Transport:
    """A transport for one connection.

    :param settings: of the connection.
    :param timeout: longest time for one call, in seconds. The connection's own timeout counts if it is shorter.
    :param retries: how often a call is repeated. With 0 a call never waits for the rate limit either.
    :param all_calls: longest time for all calls together, in seconds from the first one on.
    """
    patience = settings.timeout if timeout is None else min(settings.timeout, timeout)
    nonces = shared.shared_array(f"nonce|{settings.account}", 1)
    return Transport(
        settings.base_url,
        settings.credentials,
        timeout=Timeout(connect=min(patience, 5), read=patience, all_calls=all_calls),
        verify=settings.verify_tls,
        nonce_window=settings.nonce_window,
        retry=RetryPolicy() if retries is None else RetryPolicy(attempts=retries + 1),
        clock=ExchangeClock(nonces=nonces),
        throttle=throttle.shared(settings.exchange),
        observer=request_metrics(),
        sleep=_never_wait if retries == 0 else time.sleep,
    )


def _never_wait(seconds: float) -> None:
    """:raises WhiteBitRateLimitError: always."""
    raise WhiteBitRateLimitError(f"The exchange's rate limit was reached; calls wait for {seconds:.0f} s more.")
