"""Make every call of ``aiowhitebit`` that concerns lending, unchanged, against a sandbox.

Its own interpreter runs this with the sandbox's address. It prints a report as JSON.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import re
import sys
import time
from unittest import mock

from aiowhitebit import clients
from aiowhitebit.config import APIEndpoints
from recorder import Recorder

url = sys.argv[1]
# It reports refusals to the root logger as well.
logging.disable()
KINDS = (clients.PublicV1Client, clients.PublicV2Client, clients.PublicV4Client, clients.PrivateV4Client)


def plain(value):
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    return value.model_dump() if hasattr(value, "model_dump") else value


def calls():
    """Path of each call, by the name of its client and method."""
    for kind in KINDS:
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            if found := re.search(r'APIEndpoints\.(\w+)|"(/api/[^"]+)"', inspect.getsource(inspect.unwrap(method))):
                yield f"{kind.__name__}.{name}", found[2] or getattr(APIEndpoints, found[1])


record = Recorder(dict(calls()), plain)


def call(name, *params, label=""):
    async def made():
        kind, method = name.split(".")
        if kind == "PrivateV4Client":
            client = clients.PrivateV4Client("sandbox-key", "sandbox-secret", base_url=url)
            return await getattr(client, method)(*params)
        client = getattr(clients, kind)(base_url=url)
        try:
            return await getattr(client, method)(*params)
        finally:
            await client.close()

    record.keep(label or name, name, lambda: asyncio.run(made()))


for method in ("server_time", "server_status", "asset_status_list", "maintenance_status", "market_activity"):
    call(f"PublicV4Client.get_{method}")
balance = "PrivateV4Client.get_trading_balance"
# Its nonces are whole seconds: each call below is made in another one.
seconds = itertools.count(int(time.time()))
with mock.patch("time.time", side_effect=lambda: now):
    now = next(seconds)
    call(balance)
    now = next(seconds)
    call(balance, "USDT", label=f"{balance}(ticker)")
    now = next(seconds)
    call(balance, label="the first of two calls in one second")
    call(balance, label="two calls in one second")
    # As a client does that counts milliseconds.
    now = next(seconds) * 1000
    call(balance, label="a call whose nonce is in milliseconds")
    now = next(seconds)
    call(balance, label="a call after one whose nonce was in milliseconds")
record.report()
