"""Other clients of the exchange, each in its own environment: their dependencies conflict with Airflow's and others.

``python scripts/peers.py`` installs all of them, with the versions in ``scripts/pins``. ``--resolve`` installs the
newest instead, and rewrites those files.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
HOME, PINS = SCRIPTS.parent / ".peers", SCRIPTS / "pins"
#: The name under which each peer is distributed.
DISTRIBUTIONS = {"sdk": "whitebit-python-sdk", "ccxt": "ccxt", "aiowhitebit": "aiowhitebit"}
#: aiowhitebit wants an aiodns that newer releases of pycares break.
LIMITS = {"aiowhitebit": ("pycares<5",)}
#: Most seconds that one installation may take.
PATIENCE = 600


def version_of(name: str) -> str:
    """The pinned version of a peer."""
    lines = (PINS / f"{name}.txt").read_text().splitlines()
    return next(line for line in lines if line.startswith(f"{DISTRIBUTIONS[name]}==")).partition("==")[2]


def python_of(name: str) -> Path:
    """The interpreter of a peer's own environment, which is created if it is missing.

    :raises subprocess.SubprocessError: if it cannot be installed.
    """
    pins, ready = PINS / f"{name}.txt", HOME / name / "ready"
    if not ready.exists() or ready.read_text() != pins.read_text():
        _install(name, "-c", str(pins))
        ready.write_text(pins.read_text())
    return HOME / name / "bin" / "python"


def resolve(name: str) -> None:
    """Install the newest version of a peer, and pin it and all that came with it."""
    python = _install(name, *LIMITS.get(name, ()))
    freeze = [python, "-m", "pip", "freeze", "--disable-pip-version-check"]
    pins = subprocess.run(freeze, check=True, capture_output=True, text=True).stdout
    (PINS / f"{name}.txt").write_text(pins)
    (HOME / name / "ready").write_text(pins)


def _install(name: str, *options: str) -> Path:
    print(f"Installing {name} into its own environment", file=sys.stderr, flush=True)
    folder = HOME / name
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, DISTRIBUTIONS[name], *options], check=True, timeout=PATIENCE)
    return python


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolve", action="store_true", help="install and pin the newest versions")
    options = parser.parse_args()
    for peer in DISTRIBUTIONS:
        if options.resolve:
            resolve(peer)
        print(f"{DISTRIBUTIONS[peer]} {version_of(peer)}: {python_of(peer)}")
