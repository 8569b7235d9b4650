"""Other clients of the exchange, each in an environment of its own: their dependencies exclude each other's and
Airflow's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent / ".peers"
#: What is installed for each peer, itself first.
PACKAGES = {
    "sdk": ["whitebit-python-sdk==1.1.17"],
    "ccxt": ["ccxt==4.5.90", "requests"],
    "aiowhitebit": ["aiowhitebit==0.4.0", "pycares==4.11.0"],
}


def version_of(name: str) -> str:
    """The version of a peer."""
    return PACKAGES[name][0].partition("==")[2]


def distribution_of(name: str) -> str:
    """The name under which a peer is distributed."""
    return PACKAGES[name][0].partition("==")[0]


def python_of(name: str) -> Path:
    """The interpreter of a peer's own environment, made if it is missing.

    :raises subprocess.CalledProcessError: if it cannot be installed.
    """
    folder = HOME / name
    python, ready, wanted = folder / "bin" / "python", folder / "ready", " ".join(PACKAGES[name])
    if not ready.exists() or ready.read_text() != wanted:
        print(f"Installing {name} into an environment of its own", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES[name]], check=True
        )
        ready.write_text(wanted)
    return python
