#!/usr/bin/env bash
# Installs Debian's PostgreSQL and Redis, which the tests on Celery start, unless they are installed. Without the right
# to install them, the tests are skipped and say so.
set -uo pipefail
shopt -s nullglob

# Debian keeps PostgreSQL's programs off the PATH.
PATH="$PATH:/usr/sbin"
for directory in /usr/lib/postgresql/*/bin; do
    PATH="$PATH:$directory"
done
runs() { "$1" --version >/dev/null 2>&1; }

wanted=()
{ runs initdb && runs postgres; } || wanted+=(postgresql)
runs redis-server || wanted+=(redis-server)
[ ${#wanted[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "${wanted[*]} not installed, and this user cannot install packages: THE TESTS ON CELERY WILL BE SKIPPED"
    exit 0
fi

echo "Installing Debian's ${wanted[*]} for the tests on Celery"
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -qq -y --no-install-recommends "$@" >/dev/null; }

# The tests start their own servers. Debian's packages would start more of them, on the default ports.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
without_cluster() {
    install postgresql-common &&
        sed -i -E 's/^#?\s*create_main_cluster\s*=.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
}
{
    apt-get update -qq &&
        case " ${wanted[*]} " in *" postgresql "*) without_cluster ;; esac &&
        install "${wanted[@]}"
} || echo "${wanted[*]} could not be installed: THE TESTS ON CELERY WILL BE SKIPPED"
