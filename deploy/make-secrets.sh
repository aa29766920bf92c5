#!/bin/sh
# Make the files in ./secrets that the compose files read: an API key, the secret of the server, the password
# of the database, and a self-signed certificate for a trial. The script does not change files that exist.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets/tls
# The containers read them as other users; the folder keeps other people out.
chmod 700 secrets

random() { openssl rand -hex 24; }
make_file() {
    [ -e "secrets/$1" ] || printf '%s' "$2" >"secrets/$1"
    chmod 644 "secrets/$1"
}

make_file api_key "$(random)"
make_file secret_keys "$(random)"
make_file postgres_password "$(random)"
make_file database_url "postgresql://scim:$(cat secrets/postgres_password)@postgres:5432/scim"
make_file broker_url "redis://redis:6379/0"
if [ ! -e secrets/tls/tls.crt ]; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=${1:-localhost}" \
        -addext "subjectAltName=DNS:${1:-localhost}" \
        -keyout secrets/tls/tls.key -out secrets/tls/tls.crt 2>/dev/null
    chmod 644 secrets/tls/tls.key
fi
