"""Lenses: each turns an attribute of SCIM into fields of JumpCloud and back.

`project` makes fields of a value. `merge` brings changes of the fields, made in the console, into the
value. The value keeps the parts that no field holds.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from storage.jumpcloud.wire import is_object_id

Fields = Mapping[str, Any]

# The most characters of a field, and of a value in `attributes`.
LONGEST: Final = 1024
# Placeholders on a reserved domain (RFC 2606), which clients never see: JumpCloud requires an address
# of a user without one, and a search must find users with more addresses than the fields hold.
NO_ADDRESS: Final = "@none.scim.invalid"
MORE_ADDRESSES: Final = "@more.scim.invalid"

_ADDRESS = re.compile(r"[^@\s\"]{1,64}@[^@\s]{1,200}\.[A-Za-z0-9-]{2,60}", re.ASCII)


@dataclass(frozen=True)
class Lens(ABC):
    """An attribute of the core schema, or of the extension with the URN `extension`, and its fields."""

    attribute: str
    fields: tuple[str, ...]
    extension: str | None = None

    @abstractmethod
    def project(self, value: Any) -> dict[str, Any]:
        """Return the fields for `value`, which is None for a missing value."""

    @abstractmethod
    def merge(self, value: Any, live: Fields) -> Any:
        """Return `value` with the changes that the fields show; None if they are empty."""

    def seen(self, live: Fields) -> dict[str, Any]:
        """Return the fields in the form in which `project` returns them."""
        return {name: live.get(name) or "" for name in self.fields}

    def returned(self, projected: Fields) -> Fields:
        """Return the fields as JumpCloud may return them: some of them in lower case."""
        return projected

    def is_same(self, projected: Fields, live: Fields) -> bool:
        """Return whether the fields are equal to those that `project` returned."""
        return self.seen(projected) == self.seen(live)


@dataclass(frozen=True)
class TextLens(Lens):
    """Text. The field holds the beginning of a text that is too long, or nothing without `cut`."""

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
    """A single-valued complex attribute; `parts` has pairs of sub-attribute and field."""

    parts: tuple[tuple[str, str], ...] = ()
    # Sub-attributes made of the parts: a change of a part removes them.
    made: tuple[str, ...] = ()
    ids: bool = False

    def project(self, value: Any) -> dict[str, Any]:
        texts = {field: _text(value, name)[:LONGEST] for name, field in self.parts}
        return {field: text if not self.ids or is_object_id(text) else "" for field, text in texts.items()}

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
    """`active`: true unless the user is suspended or staged."""

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
    """A multi-valued complex attribute and a list of objects; `keys` has pairs of sub-attribute and key."""

    keys: tuple[tuple[str, str], ...] = ()

    def project(self, value: Any) -> dict[str, Any]:
        projected = [self._item(element) for element in _elements(value)]
        return {self.fields[0]: [item for item in projected if item]}

    def _item(self, element: Mapping[str, Any]) -> dict[str, str]:
        item = {key: _text(element, name)[:LONGEST] for name, key in self.keys}
        # An object with nothing but a type is empty.
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
    """`emails`: JumpCloud has two addresses of a user, and requires the first.

    The second field is a placeholder where the user has further values, so that a search finds the user.
    """

    fields: tuple[str, ...] = ("email", "alternateEmail")

    def project(self, value: Any) -> dict[str, Any]:
        elements = _elements(value)
        first, second, more = _addresses(elements)
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
            # The console has replaced the placeholder.
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
    """Return the positions of the first and the second address, and whether there are further values."""
    usable = [i for i, e in enumerate(elements) if _ADDRESS.fullmatch(_text(e, "value"))]
    usable = [i for i in usable if not _text(elements[i], "value").lower().endswith(".scim.invalid")]
    first = next((i for i in usable if elements[i].get("primary") is True), usable[0] if usable else None)
    texts = [_text(element, "value").lower() for element in elements]
    second = next((i for i in usable if first is not None and texts[i] != texts[first]), None)
    in_fields = {texts[i] for i in (first, second) if i is not None}
    return first, second, any(text and text not in in_fields for text in texts)


def _mark(address: str) -> str:
    """Return an address, or the domain of a placeholder."""
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
