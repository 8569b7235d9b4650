"""The command ``whitebit-sandbox``: the sandbox exchange, and backtests of policies on it."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["backtest"]:
        from airflow_provider_whitebit.backtest.cli import main as backtest

        return backtest(given[1:])
    from airflow_provider_whitebit.sandbox.cli import main as sandbox

    return sandbox(given)
