#!/usr/bin/env bash
# Installs Debian's hledger for the tests of journal entries, unless it is installed. Without the right to install it, the
# tests are skipped and say so.
set -uo pipefail

command -v hledger >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "hledger is not installed, and this user cannot install it: journal entries will not be checked with it"
    exit 0
fi
echo "Installing Debian's hledger for the tests of journal entries"
(apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends hledger) >/dev/null ||
    echo "hledger could not be installed: journal entries will not be checked with it"
