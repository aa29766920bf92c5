#!/bin/sh
# Install the Debian packages that the tests need and that are not there yet.
set -eu

missing=""
command -v chromium >/dev/null || missing="$missing chromium fonts-dejavu-core"
# Their programs are not on everybody's PATH.
command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 ||
    missing="$missing postgresql"
command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] || missing="$missing mariadb-server"
command -v openssl >/dev/null || missing="$missing openssl"
command -v zsh >/dev/null || missing="$missing zsh"
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing="$missing nginx-light"
command -v systemd-analyze >/dev/null || missing="$missing systemd"
command -v slapd >/dev/null || [ -x /usr/sbin/slapd ] || missing="$missing slapd"
command -v rsyslogd >/dev/null || [ -x /usr/sbin/rsyslogd ] || missing="$missing rsyslog"
# The driver for LDAP is compiled.
[ -e /usr/include/ldap.h ] || missing="$missing libldap-dev libsasl2-dev"
command -v gcc >/dev/null || missing="$missing gcc libc6-dev"
"${PYTHON:-python3}" -c 'import os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")' 2>/dev/null ||
    missing="$missing python3-dev"
# With promtool.
command -v prometheus >/dev/null || missing="$missing prometheus"
command -v redis-server >/dev/null || missing="$missing redis-server"
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing="$missing rabbitmq-server"
# A MongoDB server for the tests is fetched with Maven, which brings Java along.
command -v mongod >/dev/null || [ -n "${MONGO_TEST_URL:-}" ] || command -v mvn >/dev/null ||
    missing="$missing maven"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "these Debian packages are needed for the tests:$missing" >&2
    exit 1
fi
# The tests start servers of their own; those of the packages stay off while this runs.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -q >/dev/null
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing >/dev/null
