"""One way of making a signed call, timed in a process and an environment of its own.

``python caller.py NAME PORT``: reads a number of calls from each line of standard input, makes that many, and
prints the microseconds of one call. So the parent can let all ways take turns on the same machine and server.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import sys
import time
from collections.abc import Callable

PATH = "/api/v4/main-account/balance"
KEY = "bench-key"
SECRET = "bench-secret"
#: Percent of the vendor's limits: 10,000 calls of this path in a second. The count keeps a moment for each call that a
#: window allows, in a file of its own.
FAR_MORE = 10_000


def signed(last: list[int]) -> tuple[bytes, dict[str, str]]:
    """What the vendor's quickstart does for each call."""
    last[0] = max(last[0] + 1, int(time.time() * 1000))
    body = json.dumps({"request": PATH, "nonce": last[0], "nonceWindow": True}, separators=(",", ":")).encode()
    payload = base64.b64encode(body)
    signature = hmac.new(SECRET.encode(), payload, hashlib.sha512).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-TXC-APIKEY": KEY,
        "X-TXC-PAYLOAD": payload.decode(),
        "X-TXC-SIGNATURE": signature,
    }
    return body, headers


def bare_session(url: str) -> Callable[[], object]:
    import requests

    session, last = requests.Session(), [0]

    def call() -> object:
        body, headers = signed(last)
        return session.post(url + PATH, data=body, headers=headers, timeout=10).json()

    return call


def quickstart(url: str) -> Callable[[], object]:
    import requests

    last = [0]

    def call() -> object:
        body, headers = signed(last)
        return requests.post(url + PATH, data=body, headers=headers, timeout=10).json()

    return call


def bare_urllib3(url: str) -> Callable[[], object]:
    import urllib3

    pool, last = urllib3.PoolManager(), [0]

    def call() -> object:
        body, headers = signed(last)
        return json.loads(pool.request("POST", url + PATH, body=body, headers=headers, timeout=10).data)

    return call


def raise_limits(*, share: int) -> None:
    """Count calls in shared memory as usual, but under limits that are never reached.

    :param share: percent of the vendor's limits.
    """
    from airflow_provider_whitebit.client import shared, throttle

    @functools.cache
    def raised(exchange: str) -> throttle.Throttle:
        return throttle.Throttle(
            share=share, count=lambda length: shared.shared_array(f"throttle|{exchange}|{length}", length)
        )

    throttle.shared = raised


def hook(url: str) -> Callable[[], object]:
    import os

    os.environ["AIRFLOW_CONN_WHITEBIT_BENCH"] = json.dumps(
        {"conn_type": "whitebit", "login": KEY, "password": SECRET, "host": url}
    )
    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

    raise_limits(share=FAR_MORE)
    client = WhiteBitHook("whitebit_bench").get_conn()
    return client.main_balance


def sdk(url: str) -> Callable[[], object]:
    import httpx
    from whitebit import WhitebitApi
    from whitebit.environment import WhitebitApiEnvironment
    from whitebit.hmac_transport import HmacTransport

    api = WhitebitApi(
        environment=WhitebitApiEnvironment(base=url, production="", eu=""),
        api_key=KEY,
        txc_payload="",
        txc_signature="",
        httpx_client=httpx.Client(transport=HmacTransport(api_secret=SECRET)),
    )
    return lambda: api.main_account.get_main_balance(request="", nonce=0)


def ccxt(url: str) -> Callable[[], object]:
    import ccxt as library

    exchange = library.whitebit({"apiKey": KEY, "secret": SECRET, "enableRateLimit": False})
    exchange.urls["api"]["v4"]["private"] = url + "/api/v4"
    return exchange.v4PrivatePostMainAccountBalance


def aiowhitebit(url: str) -> Callable[[], object]:
    import asyncio

    from aiowhitebit.clients.private import PrivateV4Client

    # It knows no call for the Main balance; the trade balance is signed and answered in the same way.
    client, loop = PrivateV4Client(KEY, SECRET, base_url=url), asyncio.new_event_loop()
    return lambda: loop.run_until_complete(client.get_trading_balance())


WAYS = {
    function.__name__: function for function in (bare_session, quickstart, bare_urllib3, hook, sdk, ccxt, aiowhitebit)
}


def main() -> None:
    name, port = sys.argv[1], int(sys.argv[2])
    call = WAYS[name](f"http://127.0.0.1:{port}")
    call()
    print("ready", flush=True)
    for line in sys.stdin:
        count = int(line)
        begin = time.perf_counter()
        for _ in range(count):
            call()
        print((time.perf_counter() - begin) / count * 1e6, flush=True)


if __name__ == "__main__":
    main()
