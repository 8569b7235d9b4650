#!/usr/bin/env bash
# Makes sure that there is a Chromium for the tests of the Treasury page: Debian's, where nothing is installed yet and
# this may install it. Where it may not, the tests are skipped and say so.
set -uo pipefail

for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "There is no Chromium, and this user cannot install one: the tests of the Treasury page will be skipped"
    exit 0
fi
echo "Installing Debian's chromium for the tests of the Treasury page"
(apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium) >/dev/null ||
    echo "Chromium could not be installed: the tests of the Treasury page will be skipped"
