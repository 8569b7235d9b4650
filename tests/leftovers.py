"""pytest plugin: whatever ends a test run, no process that it has started is left behind."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from reaper import descendants, marked, running, start_reaper

__all__ = ["descendants", "marked", "running"]


def pytest_configure(config: pytest.Config) -> None:
    """Treat SIGTERM like Ctrl-C, so fixtures end what they have started; have a reaper end what is left."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    # The workers of pytest-xdist are processes of the run that has started them.
    if not hasattr(config, "workerinput"):
        start_reaper()
