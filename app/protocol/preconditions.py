"""Conditional requests (RFC 7644 section 3.14, RFC 9110 section 13)."""

import re

from app.protocol.errors import PreconditionFailed

# The opaque part of an entity-tag; some clients leave out the quotes, so they may be missing.
_TAG = re.compile(r'(?:W/)?"([^"]*)"|([^\s,"]+)')


def entity_tag(version: str) -> str:
    """Return the weak entity-tag that stands for a version: `meta.version` and the ETag header."""
    return f'W/"{version}"'


def names(header: str, version: str) -> bool:
    """Return whether an If-Match or If-None-Match header names `version`, by weak comparison."""
    if header.strip() == "*":
        return True
    return any((quoted or bare) == version for quoted, bare in _TAG.findall(header))


def require_match(if_match: str | None, version: str) -> None:
    """Raise PreconditionFailed unless If-Match is absent or names `version`."""
    if if_match is not None and not names(if_match, version):
        raise PreconditionFailed(entity_tag(version))


def require_none_match(if_none_match: str | None, version: str) -> None:
    """Raise PreconditionFailed when If-None-Match names `version`: for methods that change."""
    if if_none_match is not None and names(if_none_match, version):
        raise PreconditionFailed(entity_tag(version))
