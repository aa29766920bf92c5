"""Which SCIM attribute is which LDAP attribute, in both directions.

What is projected is what ordinary LDAP clients read; what they write there is taken back.
"""

import base64
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schema.resource_type import AttributePath, ResourceType
from schema.urns import ENTERPRISE_USER
from storage.ldap.matching import equality_key, is_plain

# SCIM path, LDAP attribute, and the `type` that an element has for it, "" for any other.
_LINKS: Final = (
    ("userName", "uid", ""),
    ("name.formatted", "cn", ""),
    ("name.familyName", "sn", ""),
    ("name.givenName", "givenName", ""),
    ("displayName", "displayName", ""),
    ("title", "title", ""),
    ("preferredLanguage", "preferredLanguage", ""),
    ("emails.value", "mail", ""),
    ("phoneNumbers.value", "telephoneNumber", ""),
    ("phoneNumbers.value", "mobile", "mobile"),
    ("x509Certificates.value", "sshPublicKey", ""),
    (f"{ENTERPRISE_USER}:employeeNumber", "employeeNumber", ""),
    (f"{ENTERPRISE_USER}:department", "departmentNumber", ""),
)
# An entry must have these: without a value of its own, the first of those paths that has one.
_FALLBACKS: Final = {
    "cn": ("name.formatted", "displayName", "userName", "id"),
    "sn": ("name.familyName", "displayName", "userName", "id"),
}
_PRINTABLE = re.compile(r"[A-Za-z0-9'()+,\-./:? ]+")
_KEY = re.compile(r"(ssh-|ecdsa-|sk-)[\w.@\-]+ ", re.ASCII)


@dataclass(frozen=True)
class Link:
    """One LDAP attribute and the SCIM attribute it projects.

    Of a multi-valued attribute it takes the elements of one `kind`; those of no kind of `others`
    when that is empty.
    """

    path: AttributePath
    attribute: str
    kind: str = ""
    others: frozenset[str] = frozenset()

    @property
    def is_single(self) -> bool:
        """Whether a resource has one value at most."""
        return not self.path.attribute.multi_valued

    def takes(self, element: Any) -> bool:
        """Return whether an element of the SCIM attribute is projected here."""
        if not isinstance(element, Mapping):
            return self.path.sub_attribute is None
        kind = str(element.get("type") or "").lower()
        return kind == self.kind if self.kind else kind not in self.others

    def text(self, value: Any) -> str | None:
        """Return what a SCIM value is in the directory; None for what is not projected here."""
        if not isinstance(value, str) or not value:
            return None
        return _ssh_key(value) if self.attribute == "sshPublicKey" else value

    def value(self, text: str) -> str:
        """Return the SCIM value of what the directory has."""
        return base64.b64encode(text.encode()).decode() if self.attribute == "sshPublicKey" else text

    def is_accepted(self, text: str) -> bool:
        """Return whether the syntax of the LDAP attribute allows `text`."""
        if self.attribute == "mail":
            return text.isascii()
        if self.attribute in ("telephoneNumber", "mobile"):
            return _PRINTABLE.fullmatch(text) is not None
        return "\x00" not in text

    def elements(self, document: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
        """Yield each element that is projected here with what it is in the directory."""
        for element in self.path.elements(document):
            value = element
            if self.path.sub_attribute is not None:
                value = element.get(self.path.sub_attribute.name) if isinstance(element, Mapping) else None
            text = self.text(value) if self.takes(element) else None
            if text is not None:
                yield element, text


@dataclass(frozen=True)
class Projection:
    """What a resource looks like in standard attributes, and which of these do not say it all."""

    values: Mapping[str, list[str]]
    inexact: frozenset[str]


class StandardAttributes:
    """The links of one resource type to the attributes that a server has."""

    def __init__(self, resource_type: ResourceType, is_person: bool, known: Callable[[str], bool]) -> None:
        self._type = resource_type
        kinds = frozenset(kind for _, _, kind in _LINKS if kind)
        table = _LINKS if is_person else (("displayName", "cn", ""),)
        found = []
        for text, attribute, kind in table:
            path = resource_type.path(text)
            if path is not None and known(attribute):
                found.append(Link(path, attribute, kind, frozenset() if kind else kinds))
        self.links: tuple[Link, ...] = tuple(found)
        needed = ("cn", "sn") if is_person else ("cn",)
        self._fallbacks = [(name, self._paths(_FALLBACKS[name])) for name in needed]
        self.attributes: tuple[str, ...] = tuple(dict.fromkeys([*(x.attribute for x in found), *needed]))

    def _paths(self, texts: Sequence[str]) -> list[AttributePath]:
        return [path for path in map(self._type.path, texts) if path is not None]

    def of(self, path: AttributePath) -> list[Link]:
        """Return the links of a SCIM attribute."""
        return [link for link in self.links if link.path.text == path.text]

    def is_needed(self, attribute: str) -> bool:
        """Return whether an entry has an attribute, in any case, even when the resource has no value."""
        return any(name == attribute.lower() for name, _ in self._fallbacks)

    def tells(self, link: Link) -> bool:
        """Return whether a value other than the id in the attribute of a link can only be that path's."""
        paths = next((paths for name, paths in self._fallbacks if name == link.attribute), [])
        return all(path.text in (link.path.text, "id") for path in paths)

    def project(self, document: Mapping[str, Any], refused: Collection[str]) -> Projection:
        """Return the projection of a resource; `refused` are attributes that the server did not take."""
        values: dict[str, list[str]] = {}
        inexact = set()
        for link in self.links:
            kept: dict[str, str] = {}
            for _, text in link.elements(document):
                if not is_plain(text):
                    inexact.add(link.attribute)
                key = equality_key(text)
                if link.attribute in refused or not link.is_accepted(text):
                    inexact.add(link.attribute)
                elif kept.setdefault(key, text) != text and kept[key].casefold() != text.casefold():
                    inexact.add(link.attribute)
            values[link.attribute] = list(kept.values())
        for name, paths in self._fallbacks:
            texts = [v for path in paths for v in path.values(document) if isinstance(v, str)]
            usable = [text for text in texts if text.strip() and "\x00" not in text and name not in refused]
            values[name] = values.get(name) or [*usable[:1]] or ["-"]
        return Projection(values, frozenset(inexact))

    def take_back(
        self, document: dict[str, Any], found: Mapping[str, list[str]], projected: Mapping[str, list[str]]
    ) -> bool:
        """Change `document` to what others have made of the projection; return whether they have.

        `found` are the standard attributes as they are, `projected` as they were written.
        """
        changed = False
        for link in self.links:
            now, then = found.get(link.attribute, []), projected.get(link.attribute, [])
            if sorted(now) == sorted(then):
                continue
            if link.is_single:
                changed = self._take_single(document, link, now, then) or changed
            else:
                self._take_several(document, link, now)
                changed = True
        return changed

    @staticmethod
    def _take_single(document: dict[str, Any], link: Link, now: list[str], then: list[str]) -> bool:
        fresh = [text for text in now if text not in then]
        if not fresh and (now or link.path.leaf.required):
            return False
        _put(document, link.path, fresh[0] if fresh else None)
        return True

    @staticmethod
    def _take_several(document: dict[str, Any], link: Link, now: list[str]) -> None:
        name = link.path.leaf.name
        kept, left = [], {equality_key(text): text for text in now}
        keys, texts = frozenset(left), {id(element): text for element, text in link.elements(document)}
        for element in link.path.elements(document):
            text = texts.get(id(element))
            key = equality_key(text) if text is not None else None
            if text is not None and key not in keys and link.is_accepted(text):
                continue
            kept.append(element)
            left.pop(key or "", None)
        kind = {"type": link.kind} if link.kind else {}
        kept += [{name: link.value(text), **kind} for text in left.values()]
        if kept:
            document[link.path.attribute.name] = kept
        else:
            document.pop(link.path.attribute.name, None)


def _put(document: dict[str, Any], path: AttributePath, value: str | None) -> None:
    """Set a single value, or remove it, with the objects it is in as needed."""
    holder = document
    names = [name for name in (path.extension, path.attribute.name) if name is not None]
    if path.sub_attribute is not None:
        names.append(path.sub_attribute.name)
    for name in names[:-1]:
        inner = holder.get(name)
        inner = dict(inner) if isinstance(inner, Mapping) else {}
        holder[name] = inner
        holder = inner
    if value is None:
        holder.pop(names[-1], None)
    else:
        holder[names[-1]] = value
    if path.extension is not None and path.extension not in document.get("schemas", ()):
        document["schemas"] = [*document.get("schemas", ()), path.extension]
    for name in names[:-1]:
        if document.get(name) == {}:
            del document[name]


def _ssh_key(value: str) -> str | None:
    """Return the SSH key that a certificate value holds, plain or in base64, or None."""
    text = value
    if not _KEY.match(value):
        try:
            text = base64.b64decode(value, validate=True).decode("ascii")
        except ValueError:
            return None
    return text.strip() if _KEY.match(text) else None
