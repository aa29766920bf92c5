#!/bin/sh
# Write the lock files anew, from setup.cfg and pyproject.toml: `make lock`. $1 is the program uv.
#   test.txt   everything: one resolution, which the other files repeat in part
#   image.txt  the container
#   run.txt    `make run`: packages that need no compiler
#   docs.txt   `make docs`
#   build.txt  builds packages that come as source, for the container
set -eu
cd "$(dirname "$0")/.."

lock() { # NAME ARGUMENTS...: without the address of an index, which differs between networks
    name=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
        --output-file "requirements/$name.txt" "$@"
}

uv=$1
lock test --upgrade setup.cfg --all-extras
extras() { printf -- '--extra %s ' "$@"; }
# shellcheck disable=SC2046
lock image --constraints requirements/test.txt setup.cfg \
    $(extras postgresql mysql mongodb ldap irods celery tracing)
# shellcheck disable=SC2046
lock run --constraints requirements/test.txt setup.cfg $(extras postgresql mysql mongodb irods)
lock docs --constraints requirements/test.txt setup.cfg --extra docs
sed -n 's/^requires = \["\(.*\)"\]$/\1/p' pyproject.toml | lock build --upgrade -
