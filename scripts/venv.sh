#!/usr/bin/env bash
# Makes a virtual environment with one version of Airflow and this package in it.
#   scripts/venv.sh DIRECTORY VERSION      with the versions of constraints/airflow-VERSION.txt
#   scripts/venv.sh --resolve VERSION      with the newest versions that fit, and writes that file anew
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

fail() {
    echo "$*" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "There is no $python. Install Python 3.11 or newer, or say where it is: make PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is $("$python" -V 2>&1); this needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"

resolve=false
if [ "$1" = --resolve ]; then
    resolve=true
    directory=$(mktemp -d)/venv
else
    directory=$1
fi
version=$2
constraints=constraints/airflow-$version.txt
wanted='.[sandbox,dev]'
# Celery and its servers are tested on the newest Airflow only.
newest=$(ls constraints | sort -V | tail -n 1)
[ "$newest" != "airflow-$version.txt" ] || wanted='.[sandbox,dev,scale]'

echo "Making $directory with Airflow $version (about 200 packages; a minute or two the first time)"
rm -f "$directory/ready"
"$python" -m venv "$directory" || fail "$python cannot make virtual environments (on Debian: apt-get install python3-venv)"

# uv installs in seconds what takes pip a minute; where it is not to be had, pip does it.
if "$directory/bin/python" -m pip install --quiet --disable-pip-version-check uv 2>/dev/null; then
    install() { "$directory/bin/uv" pip install --python "$directory/bin/python" "$@"; }
else
    install() { "$directory/bin/python" -m pip install --disable-pip-version-check "$@"; }
fi
pinned=(-c "$constraints")
if $resolve; then
    pinned=("apache-airflow==$version")
    [ ! -f "constraints/airflow-$version.in" ] || pinned+=(-c "constraints/airflow-$version.in")
fi
if ! install "${pinned[@]}" -e "$wanted"; then
    # An index that only pip is configured for is unknown to uv.
    echo "Once more, with pip"
    "$directory/bin/python" -m pip install --disable-pip-version-check "${pinned[@]}" -e "$wanted" ||
        fail "The packages could not be installed: is there a network, and does pip reach its package index?"
fi
if $resolve; then
    "$directory/bin/python" -m pip freeze --disable-pip-version-check --exclude-editable |
        grep -E '^[A-Za-z0-9._-]+==' | grep -v '^uv==' >"$constraints"
    echo "$constraints: $(wc -l <"$constraints") packages"
else
    touch "$directory/ready"
fi
