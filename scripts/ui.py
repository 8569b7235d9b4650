"""``make ui``: runs Airflow and a sandbox exchange until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
import time

from local_airflow import BIN, REPO, Api, environment, free_port, process_group, run_script

from airflow_provider_whitebit.testing import SandboxProcess

USUAL_PORT = 8080


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, help=f"port of Airflow (default: {USUAL_PORT}, or a free one)")
    options = parser.parse_args()
    try:
        port = free_port(options.port or USUAL_PORT)
    except (OSError, OverflowError) as error:
        if options.port:
            print(f"Airflow cannot listen on port {options.port}: {error}", file=sys.stderr)
            return 1
        port = free_port()
        print(f"Port {USUAL_PORT} is in use; using {port}")
    home = REPO / ".airflow" / "ui"
    home.mkdir(parents=True, exist_ok=True)
    log_file = home / "airflow.log"
    try:
        sandbox = SandboxProcess("--db", str(home / "sandbox.db"))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        env = environment(home, sandbox.connection_json, dags=REPO / "dags_examples", port=port)
        print(f"Sandbox exchange: {sandbox.url} (key {sandbox.api_key}, secret {sandbox.api_secret})")
        print(f"Starting Airflow; its log is {os.path.relpath(log_file)} ...", flush=True)
        with log_file.open("w") as log, process_group([BIN / "airflow", "standalone"], env, log) as airflow:
            api, begin = Api(port), time.monotonic()
            while not api.healthy():
                if airflow.poll() is not None:
                    print("Airflow ended by itself; see its log", file=sys.stderr)
                    return 1
                if time.monotonic() - begin > 180:
                    print("Airflow was not healthy within 180 s; see its log", file=sys.stderr)
                    return 1
                time.sleep(1)
            print(f"Airflow is ready: {api.base} (no password; it has the connection whitebit_default)")
            print("Ctrl-C stops both", flush=True)
            airflow.wait()
            return 1
    finally:
        sandbox.stop()
        print("Stopped")


if __name__ == "__main__":
    run_script(main, interrupted=0)
