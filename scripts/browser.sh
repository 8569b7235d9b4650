#!/usr/bin/env bash
# Installs Debian's Chromium for the tests of the Treasury page, unless a Chromium is installed. Without the right to
# install it, the tests are skipped and say so.
set -uo pipefail

for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Chromium is not installed, and this user cannot install it: the tests of the Treasury page will be skipped"
    exit 0
fi
echo "Installing Debian's chromium for the tests of the Treasury page"
(apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium) >/dev/null ||
    echo "Chromium could not be installed: the tests of the Treasury page will be skipped"
