#!/usr/bin/env bash
# Makes a virtual environment with one version of Airflow and this package.
#   scripts/venv.sh DIRECTORY VERSION      with the versions of constraints/airflow-VERSION.txt
#   scripts/venv.sh --resolve VERSION      with the newest versions that fit, and rewrites that file
#   scripts/venv.sh --lowest DIRECTORY VERSION   with the lowest versions that pyproject.toml allows; needs uv
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

fail() {
    echo "$*" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "$python was not found. Install Python 3.11 or newer, or give its path: make PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is $("$python" -V 2>&1); Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"

mode=pinned
case $1 in
--resolve | --lowest) mode=${1#--} && shift ;;
esac
if [ $mode = resolve ]; then
    directory=$(mktemp -d)/venv
else
    directory=$1 && shift
fi
version=$1
constraints=constraints/airflow-$version.txt
wanted='.[sandbox,dev]'
# Celery and its servers are tested on the newest Airflow only.
newest=$(ls constraints | sort -V | tail -n 1)
[ "$newest" != "airflow-$version.txt" ] || wanted='.[sandbox,dev,scale]'

echo "Making $directory with Airflow $version (about 200 packages; a minute or two the first time)"
rm -f "$directory/ready"
"$python" -m venv "$directory" || fail "$python cannot make virtual environments (on Debian: apt-get install python3-venv)"

# uv installs in seconds what takes pip a minute. If uv is not available, pip is used. pip compiles all modules by itself:
# otherwise each process compiles Airflow again where Python may not write bytecode.
if "$directory/bin/python" -m pip install --quiet --disable-pip-version-check uv 2>/dev/null; then
    install() { "$directory/bin/uv" pip install --compile-bytecode --python "$directory/bin/python" "$@"; }
else
    install() { "$directory/bin/python" -m pip install --disable-pip-version-check "$@"; }
fi
pinned=(-c "$constraints")
if [ $mode != pinned ]; then
    pinned=("apache-airflow==$version")
    [ ! -f "constraints/airflow-$version.in" ] || pinned+=(-c "constraints/airflow-$version.in")
fi
if [ $mode = lowest ]; then
    [ -x "$directory/bin/uv" ] || fail "uv could not be installed, and pip cannot install the lowest versions."
    # Only what pyproject.toml names: the versions that those need in turn are the newest ones.
    install --resolution lowest-direct "${pinned[@]}" -e "$wanted" || fail "The packages could not be installed."
    "$directory/bin/python" scripts/lowest.py
elif ! install "${pinned[@]}" -e "$wanted"; then
    # uv does not know a package index that only pip is configured for.
    echo "Trying again with pip"
    "$directory/bin/python" -m pip install --disable-pip-version-check "${pinned[@]}" -e "$wanted" ||
        fail "The packages could not be installed. Check the network and the package index of pip."
fi
if [ $mode = resolve ]; then
    "$directory/bin/python" -m pip freeze --disable-pip-version-check --exclude-editable |
        grep -E '^[A-Za-z0-9._-]+==' | grep -v '^uv==' >"$constraints"
    echo "$constraints: $(wc -l <"$constraints") packages"
else
    touch "$directory/ready"
fi
