"""From the texts of the settings of access tokens to their values."""

import re
from typing import Any
from urllib.parse import urlsplit

from app.configuration.types import json_value
from app.protocol.context import SCOPES, TYPED_SCOPES
from app.protocol.trust import ALGORITHMS, is_protected
from storage.option_types import whole


def _parts(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


def issuers(value: str) -> tuple[str, ...]:
    """`https` URLs separated by commas; `http` on `localhost` and loopback addresses only"""
    found = _parts(value)
    for url in found:
        # A query and a fragment: RFC 8414 section 2. The issuer and its subject make the id of a principal.
        if not is_protected(url) or re.search(r"[?#|\s]", url) or "@" in urlsplit(url).netloc:
            raise ValueError("must be https URLs such as https://login.example.com, without query and user")
    return found


def audiences(value: str) -> tuple[str, ...]:
    """text; several audiences are separated by commas"""
    return _parts(value)


def algorithms(value: str) -> tuple[str, ...]:
    found = _parts(value)
    unknown = next((name for name in found if name not in ALGORITHMS), None)
    if unknown is not None or not found:
        raise ValueError(f"must be asymmetric algorithms: {', '.join(ALGORITHMS)}")
    return found


algorithms.__doc__ = f"names separated by commas, of {', '.join(f'`{name}`' for name in ALGORITHMS)}"


def claims(value: str) -> tuple[str, ...]:
    """names of claims separated by commas; `a.b` is the claim `b` in the claim `a`"""
    return _parts(value)


def clock_skew(value: str) -> int:
    """a whole number from 0 to 600"""
    return whole(value, 0, 600, "a whole number of seconds from 0 to 600")


def keys_age(value: str) -> int:
    """a whole number from 3600 to 2592000"""
    # Longer than the time between two fetches, and than most outages.
    return whole(value, 3600, 2_592_000, "a whole number of seconds from 3600 to 2592000")


def scopes(value: str) -> dict[str, frozenset[str]]:
    """a JSON object; each key is a text of the issuer, and each value a list of scopes of this server"""
    described = json_value(value)
    if not isinstance(described, dict):
        raise ValueError("must be a JSON object of lists of scopes")
    return {text: _scopes(text, names) for text, names in described.items()}


def _scopes(text: str, names: Any) -> frozenset[str]:
    if not isinstance(names, list):
        raise ValueError(f"{text[:100]!r}: must be a list of scopes")
    for name in names:
        scope, colon, resource_type = name.partition(":") if isinstance(name, str) else ("", "", "")
        if scope not in (TYPED_SCOPES if colon else SCOPES) or bool(colon) != bool(resource_type):
            known = ", ".join(sorted(SCOPES))
            raise ValueError(f"{text[:100]!r}: each scope must be one of {known}, or such as scim.read:User")
    return frozenset(names)
