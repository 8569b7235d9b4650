"""One signed reading call, made in several ways.

All ways take turns against one loopback server, so a machine that becomes slower does so for all. Ratios are to a bare
``requests.Session`` and to bare urllib3, both with inline HMAC, in the same turn.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

from figure import HERE, Figure, clean_environment, command
from peers import python_of, version_of

TURNS, CALLS = 40, 50
IN_A_ROW = (100, 1_000, 10_000)
BARE, HOOK = "bare requests.Session, inline HMAC", "this package: the hook's client"
#: Most that a call of the hook may take, against the same call by a bare library and by the fastest peer.
GOALS = {"bare_session": 0.5, "bare_urllib3": 1.2, "peer": 1}
#: Set to leave the peers out: each needs an environment of its own.
WITHOUT_PEERS = "BENCH_WITHOUT_PEERS"
#: Ways, by the name of their function in ``caller.py``. Each client is at least as slow as the library it builds on.
OWN = {
    "bare_session": BARE,
    "bare_urllib3": "bare urllib3, inline HMAC",
    "quickstart": "the vendor's quickstart: requests.post each time",
    "hook": HOOK,
}
PEERS = {
    "sdk": f"whitebit-python-sdk {version_of('sdk')}",
    "ccxt": f"ccxt {version_of('ccxt')}",
    # Its own event loop does nothing else meanwhile.
    "aiowhitebit": f"aiowhitebit {version_of('aiowhitebit')}, one call after another",
}


def peer_python(name: str) -> Path | None:
    """The interpreter of a peer's own environment; ``None`` if it is left out or cannot be made."""
    if os.environ.get(WITHOUT_PEERS):
        return None
    try:
        return python_of(name)
    except subprocess.SubprocessError:
        print(f"{name}: could not be installed; left out", file=sys.stderr, flush=True)
        return None


class Caller:
    """A process that makes signed calls in one way."""

    def __init__(self, way: str, python: Path, port: str, home: Path) -> None:
        self._process = subprocess.Popen(
            [python, HERE / "caller.py", way, port],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Peers write warnings there; one that does not start is reported.
            stderr=subprocess.DEVNULL if way in PEERS else None,
            text=True,
            env=clean_environment(home),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout

    def ready(self) -> bool:
        """Whether it could make its first call."""
        while line := self._out.readline():
            if line.strip() == "ready":
                return True
        return False

    def make(self, count: int) -> float:
        """Make this many calls. :returns: microseconds of one."""
        self._in.write(f"{count}\n")
        self._in.flush()
        return float(self._out.readline())

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def figures(home: Path) -> list[Figure]:
    """Microseconds and ratio of each way, and the hook with more calls in a row."""
    server = subprocess.Popen([sys.executable, HERE / "server.py"], stdout=subprocess.PIPE, text=True)
    callers: dict[str, Caller] = {}
    try:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        pythons: dict[str, Path | None] = dict.fromkeys(OWN, Path(sys.executable))
        pythons |= {way: peer_python(way) for way in PEERS}
        callers = {way: Caller(way, python, port, home) for way, python in pythons.items() if python is not None}
        for way, caller in list(callers.items()):
            if not caller.ready():
                print(f"{way}: did not start; left out", file=sys.stderr, flush=True)
                callers.pop(way).end()
        turns = [{way: caller.make(CALLS) for way, caller in callers.items()} for _ in range(TURNS)]
        name = "calls in a row, against a bare session"
        in_a_row = [Figure(name, _slices(callers, count), "ratio", count, "calls") for count in IN_A_ROW]
    finally:
        server.kill()
        server.wait()
        for caller in callers.values():
            caller.end()
    return [*_of(turns), *in_a_row]


def _slices(callers: dict[str, Caller], count: int) -> float:
    """This many calls by the hook against as many by a bare session, in slices that take turns."""
    slices = [(callers["hook"].make(100), callers["bare_session"].make(100)) for _ in range(count // 100)]
    return statistics.median(ours / bare for ours, bare in slices)


def _of(turns: list[dict[str, float]]) -> list[Figure]:
    def ratio(way: str, other: str) -> float:
        return statistics.median(turn[way] / turn[other] for turn in turns)

    found = []
    for way, name in {**OWN, **PEERS}.items():
        if way not in turns[0]:
            continue
        found.append(Figure(name, statistics.median(turn[way] for turn in turns), "us"))
        goal = GOALS["bare_session"] if way == "hook" else None
        found.append(Figure(name, ratio(way, "bare_session"), "of a bare session", goal=goal))
    against = ratio("hook", "bare_urllib3")
    found.append(Figure("this package against bare urllib3", against, "ratio", goal=GOALS["bare_urllib3"]))
    rivals = [way for way in ("quickstart", *PEERS) if way in turns[0]]
    fastest = min(rivals, key=lambda way: statistics.median(turn[way] for turn in turns))
    name = f"this package against the fastest peer, {fastest}"
    found.append(Figure(name, ratio("hook", fastest), "ratio", goal=GOALS["peer"]))
    return found


if __name__ == "__main__":
    command(figures)
