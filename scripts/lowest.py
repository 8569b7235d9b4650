"""Fails if a package that pyproject.toml names is not installed in the lowest version that it allows.

A lowest version that nothing installs, because Airflow needs a newer one, was never tested.
"""

from __future__ import annotations

import sys
from importlib.metadata import requires, version

from packaging.requirements import Requirement
from packaging.version import Version

EXTRAS = ("", "sandbox", "parquet", "dev")


def main() -> int:
    """Print each requirement whose lowest version is not installed; return 1 if there is one."""
    wrong = []
    for requirement in map(Requirement, requires("airflow-provider-whitebit") or []):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in EXTRAS):
            installed = version(requirement.name)
            if Version(installed) not in {Version(specifier.version) for specifier in requirement.specifier}:
                wrong.append(f"pyproject.toml allows {requirement.name}{requirement.specifier}, tested is {installed}")
    print(*sorted(set(wrong)), sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
