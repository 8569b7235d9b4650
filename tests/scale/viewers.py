"""A program: viewers of the Treasury page who look at one connection after the other, until standard input ends.

``python viewers.py HOST PORT TOKEN VIEWERS CONNECTION...`` prints how often each status came, as JSON.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
from collections import Counter
from http.client import HTTPConnection
from urllib.parse import quote


def look(host: str, port: int, token: str, connections: list[str], ended: threading.Event) -> Counter[str]:
    """Look at the connections again and again. :returns: how often each status came."""
    statuses: Counter[str] = Counter()
    client = HTTPConnection(host, port, timeout=60)
    for number, name in enumerate(itertools.cycle(connections)):
        if ended.is_set():
            return statuses
        path = "connections" if number % 10 == 9 else f"treasury?conn_id={quote(name)}"
        try:
            client.request("GET", f"/whitebit/api/{path}", headers={"Authorization": f"Bearer {token}"})
            answer = client.getresponse()
            answer.read()
            statuses[str(answer.status)] += 1
        except OSError as error:
            client.close()
            if not ended.is_set():
                statuses[type(error).__name__] += 1
    raise AssertionError("there are no connections")


def main(host: str, port: str, token: str, viewers: str, *connections: str) -> None:
    """Look as many viewers, each of whom begins with another connection."""
    ended, statuses = threading.Event(), [Counter[str]() for _ in range(int(viewers))]

    def view(number: int) -> None:
        begin = number % len(connections)
        statuses[number] = look(host, int(port), token, [*connections[begin:], *connections[:begin]], ended)

    threads = [threading.Thread(target=view, args=(number,)) for number in range(int(viewers))]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    print(json.dumps({"fewest": min(counted.total() for counted in statuses), "statuses": sum(statuses, Counter())}))


if __name__ == "__main__":
    main(*sys.argv[1:])
