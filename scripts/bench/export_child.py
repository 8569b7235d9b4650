"""Exports a history of a sandbox to a file and says what that took; run in a process of its own, for its memory."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import Transport
from airflow_provider_whitebit.operators.export import write_records


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    url, folder = sys.argv[1], Path(sys.argv[2])
    client = WhiteBitClient(Transport(url, Credentials("sandbox-key", "sandbox-secret")))
    client.server_time()
    for name in ("warm.jsonl", "warm.parquet"):
        write_records(client.flex_history(limit=1000), str(folder / name))
    told = {}
    for form in sys.argv[3:]:
        before, begin = peak_mb(), time.perf_counter()
        done = write_records(client.flex_history(), str(folder / f"history.{form}"))
        seconds = time.perf_counter() - begin
        told[form] = {"count": done["count"], "seconds": seconds, "added_mb": peak_mb() - before}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
