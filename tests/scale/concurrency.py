"""Runs Python programs at the same time, and evaluates the requests that arrived at the exchange."""

from __future__ import annotations

import subprocess
import sys
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_whitebit.sandbox.answers import THROTTLED
from airflow_provider_whitebit.testing import SandboxProcess

#: The exchange's rate limit window, and the group of paths that lending and the main balance share.
WINDOW_MS, GROUP = 10_000, "/api/v4/main-account/"
#: How many requests the sandbox keeps.
REQUESTS_KEPT = 10_000


def run_concurrently(programs: Iterable[tuple[Sequence[str], Mapping[str, str]]], seconds: int) -> list[str]:
    """Run programs at the same time. Each prints ``ready``, then waits for a line on its standard input.

    :param programs: for each its source with its arguments, and its environment.
    :param seconds: how long each may take.
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
        printed = [process.communicate(timeout=seconds) for process in running]
        failed = [errors for process, (_, errors) in zip(running, printed, strict=True) if process.returncode]
        assert not failed, "\n".join(failed)
        return [output.splitlines()[-1] for output, _ in printed]
    finally:
        for process in running:
            process.kill()
            process.communicate()


def arrived(sandbox: SandboxProcess, *, before: int = 0) -> list[dict[str, Any]]:
    """Return all requests that arrived at the exchange, oldest first.

    :param before: leave out this many of the oldest requests.
    """
    requests = sandbox.requests()
    assert len(requests) < REQUESTS_KEPT, "the sandbox has forgotten the first of them"
    return requests[before:]


def limited(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the requests that count towards the rate limit of the lending group."""
    return [request for request in requests if request["path"].startswith(GROUP)]


def busiest(requests: list[dict[str, Any]]) -> int:
    """Return how many requests of the lending group arrived within the busiest ten seconds, refused ones included."""
    moments = sorted(request["at_ms"] for request in limited(requests))
    return max((place + 1 - bisect_left(moments, at - WINDOW_MS + 1) for place, at in enumerate(moments)), default=0)


def over_the_limit(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the requests that the exchange refused because of its rate limit."""
    return [request for request in requests if request["refusal"] == THROTTLED["message"]]
