"""The command ``whitebit-sandbox``."""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sqlite3
import sys
import threading
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from airflow_provider_whitebit.sandbox.exchange import Exchange
from airflow_provider_whitebit.sandbox.plans import ScenarioError

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    if threading.current_thread() is threading.main_thread():
        # uvicorn stops in order on TERM, and then raises the signal again for whoever had it before.
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
    serving = commands.add_parser("serve", help="answer the exchange's API on a local port")
    serving.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serving.add_argument("--port", type=int, default=8787, help="port, 0 for a free one (default: %(default)s)")
    serving.add_argument("--db", type=Path, help="keep the books in this file; without it they live in memory")
    serving.add_argument("--seed", type=int, default=0, help="decides identifiers and the chances of faults")
    serving.add_argument(
        "--scenario", type=Path, help="JSON or YAML file with assets, plans, keys or balances of one's own"
    )
    serving.add_argument("--no-rate-limits", action="store_true", help="do not enforce the vendor's rate limits")
    serving.add_argument("--log-level", default="warning", choices=["critical", "error", "warning", "info", "debug"])
    return parser


def serve(options: argparse.Namespace) -> int:
    """``whitebit-sandbox serve``: one line when it is ready, then answers until it is stopped."""
    try:
        import uvicorn

        from airflow_provider_whitebit.sandbox.app import Sandbox
    except ImportError as error:
        return _fail(f"{error.name} is not installed: pip install 'airflow-provider-whitebit[sandbox]'")
    try:
        exchange = Exchange(
            db=options.db or ":memory:",
            seed=options.seed,
            scenario=_scenario(options.scenario),
            rate_limits=not options.no_rate_limits,
        )
    except sqlite3.Error as error:
        return _fail(f"cannot keep the books in {options.db}: {error}")
    except (OSError, ValueError) as error:
        return _fail(str(error))
    try:
        listener = _listen(options.host, options.port)
    except (OSError, OverflowError) as error:
        return _fail(f"cannot listen on {options.host} port {options.port}: {error}")
    host, port = listener.getsockname()[:2]
    if options.host not in LOOPBACK:
        print(f"warning: {host} can be reached from other machines, and anyone there may use it", file=sys.stderr)
    key = next(iter(exchange.keys.values()))
    shown = f"[{host}]" if ":" in host else host
    ready = (
        f"whitebit-sandbox is not an exchange; its money is made up. "
        f"Ready at http://{shown}:{port} key={key.api_key} secret={key.secret}"
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(ready, flush=True)

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
    # uvicorn raises the signal that ended it once more when it is done: this handler makes it an orderly end.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        Server(config).run(sockets=[listener])
    finally:
        exchange.close()
    return 0


def _scenario(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    text = path.read_text()
    if path.suffix in (".yaml", ".yml"):
        raw = _yaml(path, text)
    else:
        try:
            raw = json.loads(text, parse_float=Decimal)
        except ValueError as error:
            raise ScenarioError(f"{path} is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise ScenarioError(f"{path} does not hold an object")
    return raw


def _yaml(path: Path, text: str) -> Any:
    try:
        import yaml  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        raise ScenarioError(f"{path} needs PyYAML, which is not installed; JSON works without") from None
    try:
        # BaseLoader keeps numbers as the text they are written in: amounts must not pass through floats.
        return yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path} is not YAML: {error}") from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


def _fail(text: str) -> int:
    print(f"whitebit-sandbox: {' '.join(text.split())}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
