"""SSH keys in `x509Certificates`, as SRAM sends them: base64 of a line of authorized_keys."""

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

ATTRIBUTE: Final = "x509Certificates"

_KEY = re.compile(
    r"\s*((?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-[a-z0-9]+|sk-[a-z0-9-]+@openssh\.com)\s+[A-Za-z0-9+/]+=*)"
    r"(?:[ \t]+[^\r\n]*)?\s*",
    re.ASCII,
)


def key_of(line: str) -> str | None:
    """Return type and body of a public key, which identify it; None for another text."""
    match = _KEY.fullmatch(line)
    return " ".join(match[1].split()) if match else None


def keys_in(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the lines of the SSH keys of a resource, by the keys."""
    found: dict[str, str] = {}
    for element in document.get(ATTRIBUTE) or ():
        line = _line(element)
        key = key_of(line) if line is not None else None
        if key is not None and line is not None:
            found.setdefault(key, line.strip())
    return found


def without_keys(elements: Any, missing: frozenset[str]) -> list[Any]:
    """Return the elements of the attribute without those that hold one of the `missing` keys."""
    kept = []
    for element in elements or ():
        line = _line(element)
        if line is None or key_of(line) not in missing:
            kept.append(element)
    return kept


def with_elements(document: Mapping[str, Any], elements: list[Any] | None) -> dict[str, Any]:
    """Return a resource with other elements of the attribute."""
    others = {name: value for name, value in document.items() if name != ATTRIBUTE}
    return others | ({ATTRIBUTE: elements} if elements else {})


def name_of(key: str) -> str:
    """Return the name of a key in the console."""
    return f"SCIM {hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _line(element: Any) -> str | None:
    value = element.get("value") if isinstance(element, Mapping) else None
    if not isinstance(value, str):
        return None
    text = re.sub(r"\s+", "", value).translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except ValueError:  # binascii.Error and UnicodeDecodeError are
        return None
