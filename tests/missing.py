"""Skips a test if this machine lacks something that it needs, or fails it where skips are not allowed."""

from __future__ import annotations

import importlib
import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip the test; with ``WHITEBIT_NO_SKIPS`` in the environment, as in CI, fail it.

    :param reason: what is not tested, and why.
    """
    if os.environ.get("WHITEBIT_NO_SKIPS"):
        pytest.fail(f"{reason} (and WHITEBIT_NO_SKIPS is set)", pytrace=False)
    pytest.skip(reason)


def need_module(name: str, reason: str) -> None:
    """Call :func:`missing` unless a module can be imported."""
    try:
        importlib.import_module(name)
    except ImportError:
        missing(reason)
