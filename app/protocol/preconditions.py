"""Conditional requests (RFC 7644 section 3.14, RFC 9110 section 13)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.protocol.errors import PreconditionFailed
from app.protocol.profiles import Profile
from schema.errors import InvalidSyntax

ANY_VERSION: Final = "*"
"""Stands, among the versions that a client names, for all there are."""

_TAG: Final = re.compile(r'(?:W/)?"([^"]*)"')
# Some clients leave out the quotes.
_BARE_TAG: Final = re.compile(r'(?:W/)?([^\s,"]+)', re.IGNORECASE)


def entity_tag(version: str) -> str:
    """Return the weak entity-tag that stands for a version: `meta.version` and the ETag header."""
    return f'W/"{version}"'


def check_tags(name: str, text: str, profile: Profile) -> None:
    """Raise InvalidSyntax for anything but quoted entity-tags or `*`, where the letter counts."""
    if profile.loose_messages or text.strip() == ANY_VERSION:
        return
    if _TAG.sub("", text).strip(", \t"):
        raise InvalidSyntax(f'{name}: must be an entity-tag such as {entity_tag("1")}, or *')


def versions_in(text: str) -> list[str]:
    """Return the versions that entity-tags outside of a header name, `*` for all of them."""
    quoted = _TAG.findall(text)
    # In quotes, the asterisk is a tag like any other, and no version of ours (RFC 9110 section 13.1.1).
    return [one for one in quoted if one != ANY_VERSION] if quoted else _BARE_TAG.findall(text)


def names(versions: Sequence[str], version: str) -> bool:
    """Return whether a client names `version`, by weak comparison."""
    return ANY_VERSION in versions or version in versions


def require_match(if_match: Sequence[str] | None, version: str) -> None:
    """Raise PreconditionFailed unless If-Match is absent or names `version`."""
    if if_match is not None and not names(if_match, version):
        raise PreconditionFailed(entity_tag(version))


def require_none_match(if_none_match: Sequence[str] | None, version: str) -> None:
    """Raise PreconditionFailed when If-None-Match names `version`: for methods that change."""
    if if_none_match is not None and names(if_none_match, version):
        raise PreconditionFailed(entity_tag(version))


@dataclass(frozen=True, slots=True)
class Conditions:
    """The versions in the conditional headers of a request (RFC 7644 section 3.14), None where absent."""

    if_match: Sequence[str] | None = None
    if_none_match: Sequence[str] | None = None

    def check(self, version: str) -> None:
        """Raise PreconditionFailed unless a change of `version` is wanted."""
        if self is not NO_CONDITIONS:
            require_match(self.if_match, version)
            require_none_match(self.if_none_match, version)


NO_CONDITIONS: Final = Conditions()
