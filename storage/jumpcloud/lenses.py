"""Attributes of SCIM and fields of JumpCloud that are two views of the same thing.

A lens `project`s the value of an attribute to fields, and `merge`s fields that were changed in the
console into it. What the fields cannot tell stays in the value, which is kept beside them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from storage.jumpcloud.identity import is_usual
from storage.jumpcloud.kept import LONGEST

Fields = Mapping[str, Any]

# Addresses on a reserved domain (RFC 2606), for JumpCloud demands one: of users that have none, and
# of users that have others beside those in the fields. They are not shown.
NO_ADDRESS: Final = "@none.scim.invalid"
MORE_ADDRESSES: Final = "@more.scim.invalid"

_ADDRESS = re.compile(r"[^@\s\"]{1,64}@[^@\s]{1,200}\.[A-Za-z0-9-]{2,60}", re.ASCII)


@dataclass(frozen=True)
class Lens:
    """One attribute, of the core schema or of the extension with that URN, and its fields."""

    attribute: str
    fields: tuple[str, ...]
    extension: str | None = None

    def project(self, value: Any) -> dict[str, Any]:
        """Return what the fields must hold for `value`, which is None when there is none."""
        raise NotImplementedError

    def merge(self, value: Any, live: Fields) -> Any:
        """Return `value` as the fields now tell it; None when they tell there is none."""
        raise NotImplementedError

    def seen(self, live: Fields) -> dict[str, Any]:
        """Return the fields in the form that `project` gives them."""
        return {name: live.get(name) or "" for name in self.fields}

    def returned(self, projected: Fields) -> Fields:
        """Return the fields as JumpCloud may give them back, which may be in lower case."""
        return projected

    def is_same(self, projected: Fields, live: Fields) -> bool:
        """Return whether the fields still say what was projected."""
        return self.seen(projected) == self.seen(live)


@dataclass(frozen=True)
class TextLens(Lens):
    """Text; a longer one than the field can hold is cut there, and kept whole."""

    longest: int = LONGEST
    cut: bool = True
    folded: bool = False

    def project(self, value: Any) -> dict[str, Any]:
        text = value if isinstance(value, str) else ""
        return {self.fields[0]: text if len(text) <= self.longest else text[: self.longest * self.cut]}

    def merge(self, value: Any, live: Fields) -> Any:
        return _text(live, self.fields[0]) or None

    def returned(self, projected: Fields) -> Fields:
        return {name: text.lower() for name, text in projected.items()} if self.folded else projected

    def is_same(self, projected: Fields, live: Fields) -> bool:
        name = self.fields[0]
        before, now = projected[name], _text(live, name)
        return bool(before == now or (self.folded and before.lower() == now.lower()))


@dataclass(frozen=True)
class PartsLens(Lens):
    """A complex attribute, single-valued, some of whose sub-attributes are fields: (name, field)."""

    parts: tuple[tuple[str, str], ...] = ()
    # What is made from the parts, and no longer right when one changes.
    made: tuple[str, ...] = ()
    ids: bool = False

    def project(self, value: Any) -> dict[str, Any]:
        texts = {field: _text(value, name)[:LONGEST] for name, field in self.parts}
        return {field: text if not self.ids or is_usual(text) else "" for field, text in texts.items()}

    def merge(self, value: Any, live: Fields) -> Any:
        merged = dict(value) if isinstance(value, dict) else {}
        before = self.project(merged)
        changed = False
        for name, field_name in self.parts:
            now = _text(live, field_name)
            if now != before[field_name]:
                changed = True
                merged.pop(name, None)
                if now:
                    merged[name] = now
        if changed:
            merged = {name: part for name, part in merged.items() if name not in self.made}
        return merged or None


@dataclass(frozen=True)
class ActiveLens(Lens):
    """`active`: a user is, unless suspended or staged. JumpCloud always has a state."""

    fields: tuple[str, ...] = ("state", "suspended")

    def project(self, value: Any) -> dict[str, Any]:
        if value is False:
            return {"state": "SUSPENDED", "suspended": True}
        return {"state": "ACTIVATED", "suspended": False}

    def merge(self, value: Any, live: Fields) -> Any:
        return not live.get("suspended") and live.get("state") not in ("SUSPENDED", "STAGED")

    def seen(self, live: Fields) -> dict[str, Any]:
        return {"active": self.merge(None, live)}


@dataclass(frozen=True)
class ListLens(Lens):
    """A multi-valued complex attribute that is a list of objects: (name, key). The first is needed."""

    keys: tuple[tuple[str, str], ...] = ()

    def project(self, value: Any) -> dict[str, Any]:
        projected = [self._item(element) for element in _elements(value)]
        return {self.fields[0]: [item for item in projected if item]}

    def _item(self, element: Mapping[str, Any]) -> dict[str, str]:
        item = {key: _text(element, name)[:LONGEST] for name, key in self.keys}
        # A type alone is nothing.
        if not any(text for key, text in item.items() if key != "type"):
            return {}
        return item | {"type": item["type"] or "other"}

    def seen(self, live: Fields) -> dict[str, Any]:
        items = _elements(live.get(self.fields[0]))
        return {self.fields[0]: [{key: _text(item, key) for _, key in self.keys} for item in items]}

    def merge(self, value: Any, live: Fields) -> Any:
        left = [(self._item(element), element) for element in _elements(value)]
        merged = []
        for item in self.seen(live)[self.fields[0]]:
            known = next((entry for entry in left if entry[0] == item), None)
            if known is not None:
                left.remove(known)
                merged.append(known[1])
            else:
                merged.append({name: item[key] for name, key in self.keys if item[key]})
        return [element for element in merged if element] or None


@dataclass(frozen=True)
class EmailsLens(Lens):
    """`emails`: JumpCloud has one address for the user and one more.

    The first field is never empty there. Where there are further values, the second field says so:
    whoever looks for one of them finds all users that have more than is in the fields.
    """

    fields: tuple[str, ...] = ("email", "alternateEmail")

    def project(self, value: Any) -> dict[str, Any]:
        first, second, more = _addresses(_elements(value))
        elements = _elements(value)
        if first is None:
            return {"email": MORE_ADDRESSES if more else NO_ADDRESS, "alternateEmail": ""}
        other = MORE_ADDRESSES if more else ("" if second is None else elements[second]["value"])
        return {"email": elements[first]["value"], "alternateEmail": other}

    def seen(self, live: Fields) -> dict[str, Any]:
        return {name: _mark(_text(live, name)) for name in self.fields}

    def returned(self, projected: Fields) -> Fields:
        return {name: text.lower() for name, text in projected.items()}

    def is_same(self, projected: Fields, live: Fields) -> bool:
        now = self.seen(live)
        return all(projected[name].lower() == now[name].lower() for name in self.fields)

    def merge(self, value: Any, live: Fields) -> Any:
        now = self.seen(live)
        elements = [dict(element) for element in _elements(value)]
        first, second, more = _addresses(elements)
        if more and MORE_ADDRESSES not in now.values():
            # Somebody has put an address where it said that there are more.
            elements = [elements[first]] if first is not None else []
            first, second = (0 if elements else None), None
        elif more:
            second = None
        replaced = {first: now["email"], second: now["alternateEmail"]}
        merged = []
        for position, element in enumerate(elements):
            text = replaced.get(position, element.get("value"))
            if position not in replaced or not _is_mark(text):
                same = str(text).lower() == str(element.get("value")).lower()
                merged.append(element if same else {**element, "value": text})
        if first is None and not _is_mark(now["email"]):
            merged.insert(0, {"value": now["email"], "primary": True})
        if second is None and not _is_mark(now["alternateEmail"]):
            merged.append({"value": now["alternateEmail"]})
        return merged or None


def _addresses(elements: Sequence[Mapping[str, Any]]) -> tuple[int | None, int | None, bool]:
    """Return where the address of the user is, where another, and whether there are further values."""
    usable = [i for i, e in enumerate(elements) if _ADDRESS.fullmatch(_text(e, "value"))]
    usable = [i for i in usable if not _text(elements[i], "value").lower().endswith(".scim.invalid")]
    first = next((i for i in usable if elements[i].get("primary") is True), usable[0] if usable else None)
    texts = [_text(element, "value").lower() for element in elements]
    second = next((i for i in usable if first is not None and texts[i] != texts[first]), None)
    in_fields = {texts[i] for i in (first, second) if i is not None}
    return first, second, any(text and text not in in_fields for text in texts)


def _mark(address: str) -> str:
    """Return an address, or what kind of placeholder it is."""
    lowered = address.lower()
    return next((mark for mark in (NO_ADDRESS, MORE_ADDRESSES) if lowered.endswith(mark)), address)


def _is_mark(address: Any) -> bool:
    return address in ("", NO_ADDRESS, MORE_ADDRESSES)


def _text(holder: Any, name: str) -> str:
    value = holder.get(name) if isinstance(holder, Mapping) else None
    return value if isinstance(value, str) else ""


def _elements(value: Any) -> list[Mapping[str, Any]]:
    elements = value if isinstance(value, list) else []
    return [element for element in elements if isinstance(element, Mapping)]
