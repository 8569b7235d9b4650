"""The command ``whitebit-sandbox``."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sqlite3
import sys
import textwrap
import threading
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from airflow_provider_whitebit.sandbox.exchange import Exchange
from airflow_provider_whitebit.sandbox.quirks import EXCLUDING, QUIRKS, Quirks

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parser().parse_args(arguments)
    if threading.current_thread() is threading.main_thread():
        # uvicorn stops in order on TERM, then raises the signal again for the previous handler.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return serve(options)
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="whitebit-sandbox",
        description="A local WhiteBIT to develop and test against. It is not an exchange.",
        epilog="whitebit-sandbox backtest POLICY tries a treasury policy on a year of virtual time.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serving = commands.add_parser(
        "serve",
        help="answer the exchange's API on a local port",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=explain_quirks(),
    )
    serving.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serving.add_argument("--port", type=int, default=8787, help="port, 0 for a free one (default: %(default)s)")
    serving.add_argument("--db", type=Path, help="keep the ledger in this file; by default it is in memory")
    serving.add_argument("--seed", type=int, default=0, help="decides identifiers and the chances of faults")
    serving.add_argument(
        "--scenario", type=Path, help="JSON or YAML file with your own assets, plans, keys or balances"
    )
    serving.add_argument("--no-rate-limits", action="store_true", help="do not enforce the vendor's rate limits")
    serving.add_argument(
        "--quirks", type=_read_quirks, metavar="NAME[,NAME...]", help="how this exchange differs, see the list below"
    )
    serving.add_argument("--parent-pid", type=int, help="stop when this process is no longer the parent")
    serving.add_argument("--log-level", default="warning", choices=["critical", "error", "warning", "info", "debug"])
    return parser


def _read_quirks(names: str) -> Quirks:
    try:
        return Quirks.named(name.strip() for name in names.split(",") if name.strip())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def explain_quirks() -> str:
    """Return the list of quirks for ``--help``: what each does, and which exclude each other."""
    lines = ["Quirks (--quirks, POST /sandbox/quirks):"]
    width = max(map(len, QUIRKS))
    for name, text in QUIRKS.items():
        others = {*chain(*(pair for pair in EXCLUDING if name in pair))} - {name, "maintenance"}
        more = f" (not with {others.pop()})" if len(others) == 1 else ""
        lines += textwrap.wrap(
            f"{name:<{width}}  {text}{more}", 110, initial_indent="  ", subsequent_indent=" " * (width + 4)
        )
    return "\n".join(lines)


def serve(options: argparse.Namespace) -> int:
    """Run ``whitebit-sandbox serve``: print one line when it is ready, then answer until it is stopped."""
    try:
        import uvicorn  # noqa: F401

        from airflow_provider_whitebit.sandbox import app  # noqa: F401
    except ImportError as error:
        return _fail(f"{error.name} is not installed: pip install 'airflow-provider-whitebit[sandbox]'")
    try:
        exchange = _open_exchange(options)
    except sqlite3.Error as error:
        why = "another sandbox has it open" if "locked" in str(error) else error
        return _fail(f"cannot keep the ledger in {options.db}: {why}")
    except (OSError, ValueError) as error:
        return _fail(str(error))
    try:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        listener = socket.create_server((options.host, options.port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        return _fail(f"cannot listen on {options.host} port {options.port}: {error}")
    if options.host not in LOOPBACK:
        host = listener.getsockname()[0]
        print(f"warning: {host} can be reached from other machines, and anyone there may use it", file=sys.stderr)
    try:
        _answer(exchange, listener, options)
    finally:
        exchange.close()
    return 0


def _open_exchange(options: argparse.Namespace) -> Exchange:
    from airflow_provider_whitebit.sandbox.scenario import load_scenario

    return Exchange(
        db=options.db or ":memory:",
        seed=options.seed,
        scenario=load_scenario(options.scenario) if options.scenario else None,
        rate_limits=not options.no_rate_limits,
        quirks=options.quirks,
    )


def _answer(exchange: Exchange, listener: socket.socket, options: argparse.Namespace) -> None:
    """Answer requests until a signal, or until the parent process ends."""
    import uvicorn

    from airflow_provider_whitebit.sandbox.app import Sandbox

    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    key = exchange.keys.named(None)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready = f"Ready at {url} key={key.api_key} secret={key.secret}"
            print(f"whitebit-sandbox is not an exchange; its money is made up. {ready}", flush=True)

        async def on_tick(self, counter: int) -> bool:
            # A killed parent cannot stop its sandbox: the sandbox notices within a tick of 0.1 s.
            orphaned = options.parent_pid not in (None, os.getppid())
            return await super().on_tick(counter) or orphaned

    config = uvicorn.Config(
        Sandbox(exchange),
        http="h11",
        ws="none",
        lifespan="off",
        log_level=options.log_level,
        access_log=options.log_level in ("info", "debug"),
        # The exchange's own clock writes the Date header.
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    # When uvicorn has stopped, it raises the signal that stopped it again. This handler ignores that.
    signal.signal(signal.SIGTERM, lambda *_: None)
    Server(config).run(sockets=[listener])


def _fail(text: str) -> int:
    print(f"whitebit-sandbox: {' '.join(text.split())}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
