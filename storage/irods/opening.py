"""From settings to the adapter of an iRODS zone."""

import re

from storage.irods.adapter import IrodsAdapter
from storage.irods.options import Options

_ZONE = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)


def open_adapter(options: Options) -> IrodsAdapter:
    """Return an adapter on a zone, without connecting to it. Raises ValueError for unusable settings."""
    for problem in options.problems():
        raise ValueError(problem)
    if not _ZONE.fullmatch(options.irods_zone):
        raise ValueError("IRODS_ZONE must be a name of letters, digits and _ . -")
    ca_file = options.irods_ca_file
    if options.irods_tls and ca_file is not None and not ca_file.is_file():
        raise ValueError(f"IRODS_CA_FILE: there is no file {ca_file}")
    return IrodsAdapter(options)
