"""The Prefer header (RFC 7240), as far as SCIM uses it."""

import re
from dataclasses import dataclass

# A preference: a word, perhaps a value; parameters follow after semicolons.
_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PREFERENCE = re.compile(rf'\s*({_WORD})\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD})))?\s*')
_SEPARATORS = re.compile(r'"(?:[^"\\]|\\.)*"|([,;])')


@dataclass(frozen=True)
class Preferences:
    """What a client prefers; `wait_s` is None where it does not say how long it would wait."""

    respond_async: bool = False
    wait_s: int | None = None


def read_preferences(header: str) -> Preferences:
    """Return the preferences in a header; several of them come joined by commas.

    Of a preference given twice the first counts, and what is not understood does not count at all
    (RFC 7240 section 2).
    """
    found: dict[str, str] = {}
    for part in _parts(header):
        match = _PREFERENCE.fullmatch(part)
        if match is not None:
            name, quoted, word = match.groups()
            found.setdefault(name.lower(), quoted if quoted is not None else word or "")
    wait = found.get("wait", "")
    seconds = int(wait) if wait.isascii() and wait.isdigit() and len(wait) < 10 else None
    return Preferences("respond-async" in found, seconds)


def _parts(header: str) -> list[str]:
    """Return the preferences in a header, without their parameters."""
    parts, start, counts = [], 0, True
    for match in _SEPARATORS.finditer(header):
        separator = match.group(1)
        if separator is None:
            continue
        if counts:
            parts.append(header[start : match.start()])
        start, counts = match.end(), separator == ","
    if counts:
        parts.append(header[start:])
    return parts
