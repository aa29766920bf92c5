"""What JumpCloud has no field for: JSON in attributes of our own, in pieces that are short enough."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

_LOG = logging.getLogger(__name__)

# What the names of our attributes begin with. Letters and digits alone are allowed everywhere.
PREFIX: Final = "scimGateway"
# Characters of a value.
LONGEST: Final = 1024

_NAME = re.compile(rf"{PREFIX}(\d{{1,6}})", re.ASCII)


@dataclass(frozen=True)
class Kept:
    """What is kept beside the fields of a user or group.

    `rest` maps an attribute to its value where the fields alone do not give it, to None where they
    give one and there is none; attributes of an extension are in an object under its URN. `displays`
    says what a group shows of a member where that is not the member's own name. `stamp` is another
    one after each write.
    """

    rest: Mapping[str, Any] = field(default_factory=dict)
    displays: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    last_modified: str = ""
    stamp: str = ""

    def pieces(self) -> dict[str, str]:
        """Return the attributes that hold this, by name."""
        whole = {name: value for name, value in vars(self).items() if value}
        # ASCII: a piece never ends within a character, however JumpCloud counts them.
        text = json.dumps(whole, separators=(",", ":"))
        parts = [text[start : start + LONGEST] for start in range(0, len(text), LONGEST)]
        return {f"{PREFIX}{number:03}": part for number, part in enumerate(parts)}


def is_own(name: object) -> bool:
    """Return whether an attribute of that name is one of ours."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def read_kept(attributes: Mapping[str, Any], owner: str) -> Kept:
    """Return what our attributes among `attributes` hold; nothing, with a warning, if it is damaged."""
    pieces = {}
    for name, value in attributes.items():
        match = _NAME.fullmatch(name)
        if match is not None and isinstance(value, str):
            pieces[int(match[1])] = value
    if not pieces:
        return Kept()
    try:
        whole = orjson.loads("".join(pieces[number] for number in sorted(pieces)))
        return _kept(whole)
    except (ValueError, TypeError):
        _LOG.warning("%s: the JumpCloud attributes %s... are damaged and are ignored", owner, PREFIX)
        return Kept()


def _kept(whole: Any) -> Kept:
    if not isinstance(whole, dict):
        raise TypeError("not what is kept here")
    kept = Kept(**{name: whole[name] for name in Kept.__dataclass_fields__ if name in whole})
    texts = (kept.created, kept.last_modified, kept.stamp, *kept.displays.values())
    if not isinstance(kept.rest, dict) or not all(isinstance(text, str) for text in texts):
        raise TypeError("not what is kept here")
    return kept
