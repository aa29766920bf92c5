#!/bin/sh
# Install the Debian packages that the tests need and that are not there yet.
set -eu

missing=""
command -v chromium >/dev/null || missing="$missing chromium fonts-dejavu-core"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "these Debian packages are needed for the tests:$missing" >&2
    exit 1
fi
apt-get update -q >/dev/null
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing >/dev/null
