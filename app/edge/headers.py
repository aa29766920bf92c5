"""What request headers say: Accept, Prefer and the conditional ones (RFC 9110, RFC 7240)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import (
    parse_accept_header,
    parse_etags,
    parse_list_header,
    parse_options_header,
)

from app.protocol.preconditions import ANY_VERSION, NO_CONDITIONS, Conditions, check_tags
from app.protocol.profiles import Profile


@lru_cache(maxsize=256)
def _accepted(header: str) -> MIMEAccept:
    # A parameter such as charset says nothing about JSON.
    found = parse_accept_header(header, MIMEAccept)
    return MIMEAccept([(media_type.partition(";")[0], quality) for media_type, quality in found])


@lru_cache(maxsize=256)
def chosen_type(header: str, offers: tuple[str, ...]) -> str:
    """Return the one of the media types `offers` that an Accept header likes best, the first of equals.

    A header that rules out all of them is disregarded, as RFC 9110 section 12.5.1 allows: the
    request that it came with may have been carried out.
    """
    return _accepted(header).best_match(offers) or offers[0]


def asks_for(header: str, media_type: str) -> bool:
    """Return whether an Accept header names this very media type, and does not rule it out."""
    return any(name.lower() == media_type and quality > 0 for name, quality in _accepted(header))


@dataclass(frozen=True)
class Preferences:
    """What a client prefers; `wait_s` is None where it does not say how long it would wait."""

    respond_async: bool = False
    wait_s: int | None = None


def read_preferences(header: str) -> Preferences:
    """Return the preferences in a Prefer header; several of them come joined by commas.

    Of a preference given twice the first counts, and what is not understood does not count at all
    (RFC 7240 section 2).
    """
    found: dict[str, str] = {}
    for item in parse_list_header(header):
        name, equals, word = parse_options_header(item)[0].partition("=")
        if word.strip() or not equals:
            found.setdefault(name.strip().lower(), word.strip().strip('"'))
    wait = found.get("wait", "")
    seconds = int(wait) if wait.isascii() and wait.isdigit() and len(wait) < 10 else None
    return Preferences("respond-async" in found, seconds)


def read_conditions(environ: Mapping[str, Any], profile: Profile) -> Conditions:
    """Return what If-Match and If-None-Match say. Raises InvalidSyntax where the letter counts."""
    if_match, if_none_match = environ.get("HTTP_IF_MATCH"), environ.get("HTTP_IF_NONE_MATCH")
    if if_match is None and if_none_match is None:
        return NO_CONDITIONS
    return Conditions(
        _versions("If-Match", if_match, profile), _versions("If-None-Match", if_none_match, profile)
    )


def _versions(name: str, header: str | None, profile: Profile) -> tuple[str, ...] | None:
    if header is None:
        return None
    check_tags(name, header, profile)
    tags = parse_etags(header)
    if tags.star_tag:
        return (ANY_VERSION,)
    # In quotes, the asterisk is a tag like any other, and no version of ours (RFC 9110 section 13.1.1).
    return tuple(sorted(tag or "" for tag in tags.as_set(include_weak=True) if tag != ANY_VERSION))
