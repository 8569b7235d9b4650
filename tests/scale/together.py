"""Python programs in processes of their own that begin in the same moment, and what the exchange saw of them."""

from __future__ import annotations

import subprocess
import sys
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_whitebit.testing import SandboxProcess

#: The exchange's window, and the group of paths that all of lending and Main belongs to.
WINDOW_MS, GROUP = 10_000, "/api/v4/main-account/"
#: What the sandbox keeps of what arrived.
REQUESTS_KEPT = 10_000


def run_together(programs: Iterable[tuple[Sequence[str], Mapping[str, str]]], seconds: int) -> list[str]:
    """Run programs at once: none begins before all have said ``ready`` and wait for a line.

    :param programs: for each its source with its arguments, and its environment.
    :param seconds: how long they may take.
    :returns: the last line that each has printed.
    """
    running = [
        subprocess.Popen(
            [sys.executable, "-c", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(environment),
        )
        for words, environment in programs
    ]
    try:
        for process in running:
            lines = iter(process.stdout.readline, "")  # type: ignore[union-attr]
            assert any(line == "ready\n" for line in lines), process.communicate()[1]
        for process in running:
            process.stdin.write("go\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        said = [process.communicate(timeout=seconds) for process in running]
        failed = [complaint for process, (_, complaint) in zip(running, said, strict=True) if process.returncode]
        assert not failed, "\n".join(failed)
        return [out.splitlines()[-1] for out, _ in said]
    finally:
        for process in running:
            process.kill()
            process.communicate()


def arrived(sandbox: SandboxProcess, *, before: int = 0) -> list[dict[str, Any]]:
    """What arrived at the exchange, all of it.

    :param before: so many requests are left out, which arrived first.
    """
    requests = sandbox.requests()
    assert len(requests) < REQUESTS_KEPT, "the sandbox has forgotten the first of them"
    return requests[before:]


def limited(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that the limit of lending's group counts."""
    return [request for request in requests if request["path"].startswith(GROUP)]


def busiest(requests: list[dict[str, Any]]) -> int:
    """The most calls of lending's group, the refused ones too, that arrived within ten seconds."""
    moments = sorted(request["at_ms"] for request in limited(requests))
    return max((place + 1 - bisect_left(moments, at - WINDOW_MS + 1) for place, at in enumerate(moments)), default=0)


def over_the_limit(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that the exchange refused because there were too many."""
    return [request for request in requests if request["status"] == 429]
