"""SCIM attributes as standard LDAP attributes: ordinary LDAP clients read them, and may change them.

A directory compares text by other rules than SCIM. It ignores case one character at a time, and folds spaces
and compatible characters (RFC 4518). SCIM folds case and nothing else (RFC 7643 section 2.2).
"""

import base64
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schema.resource_type import AttributePath, ResourceType
from schema.urns import ENTERPRISE_USER
from storage.ldap.layout import folds_alone

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# SCIM path, LDAP attribute, and the `type` of its elements: "" for every type without an attribute.
_PAIRS: Final = (
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
# An entry must have these attributes. Their value is the first one of these paths.
_FALLBACKS: Final = {
    "cn": ("name.formatted", "displayName", "userName", "id"),
    "sn": ("name.familyName", "displayName", "userName", "id"),
}
_PRINTABLE = re.compile(r"[A-Za-z0-9'()+,\-./:? ]+")
_KEY = re.compile(r"(ssh-|ecdsa-|sk-)[\w.@\-]+ ", re.ASCII)


def is_plain(text: str) -> bool:
    """Return whether a directory finds `text` by every key that SCIM finds it by.

    An "ß" is not plain: SCIM finds it by "ss". Text with leading, trailing or double spaces is not plain.
    """
    if text.isascii():
        return not _CONTROLS.search(text) and text == " ".join(text.split())
    return (
        not _CONTROLS.search(text)
        and text == " ".join(text.split())
        and unicodedata.normalize("NFKC", text) == text
        and all(map(folds_alone, text))
    )


def substring(key: str) -> str | None:
    """Return the part of a folded key that a directory finds within plain text, or None."""
    if _CONTROLS.search(key) or "  " in key or unicodedata.normalize("NFKC", key) != key:
        return None
    return key.strip() or None


def equality_key(text: str) -> str:
    """Return a key that is equal for values that a directory may hold for equal."""
    return re.sub(r"[\s\-]+", "", unicodedata.normalize("NFKC", text)).casefold()


def is_exact(text: str) -> bool:
    """Return whether a directory finds a caseExact value by the keys that SCIM finds it by."""
    return text.isprintable() and text == " ".join(text.split()) and text.isascii()


@dataclass(frozen=True)
class Pair:
    """A SCIM attribute and the LDAP attribute for it.

    Of a multi-valued attribute, the pair has the elements of type `kind`. With an empty `kind`, it has the
    elements of every type except `others`.
    """

    path: AttributePath
    attribute: str
    kind: str = ""
    others: frozenset[str] = frozenset()

    @property
    def is_single(self) -> bool:
        """Whether the SCIM attribute has at most one value."""
        return not self.path.attribute.multi_valued

    def takes(self, element: Any) -> bool:
        """Return whether an element of the SCIM attribute belongs to this pair."""
        if not isinstance(element, Mapping):
            return self.path.sub_attribute is None
        kind = str(element.get("type") or "").lower()
        return kind == self.kind if self.kind else kind not in self.others

    def text(self, value: Any) -> str | None:
        """Return a SCIM value as text of the directory, None if the directory does not hold it."""
        if not isinstance(value, str) or not value:
            return None
        return _ssh_key(value) if self.attribute == "sshPublicKey" else value

    def value(self, text: str) -> str:
        """Return a text of the directory as a SCIM value."""
        return base64.b64encode(text.encode()).decode() if self.attribute == "sshPublicKey" else text

    def is_accepted(self, text: str) -> bool:
        """Return whether the syntax of the LDAP attribute allows `text`."""
        if self.attribute == "mail":
            return text.isascii()
        if self.attribute in ("telephoneNumber", "mobile"):
            return _PRINTABLE.fullmatch(text) is not None
        return "\x00" not in text

    def elements(self, document: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
        """Yield each element of this pair with its text in the directory."""
        for element in self.path.elements(document):
            value = element
            if self.path.sub_attribute is not None:
                value = element.get(self.path.sub_attribute.name) if isinstance(element, Mapping) else None
            text = self.text(value) if self.takes(element) else None
            if text is not None:
                yield element, text


@dataclass(frozen=True)
class Projection:
    """A resource in standard attributes, and the names of those that lack or alter one of its values."""

    values: Mapping[str, list[str]]
    inexact: frozenset[str]


class StandardAttributes:
    """The pairs of one resource type, for the attributes that the server has."""

    def __init__(self, resource_type: ResourceType, is_person: bool, known: Callable[[str], bool]) -> None:
        self._type = resource_type
        kinds = frozenset(kind for _, _, kind in _PAIRS if kind)
        table = _PAIRS if is_person else (("displayName", "cn", ""),)
        found = []
        for text, attribute, kind in table:
            path = resource_type.path(text)
            if path is not None and known(attribute):
                found.append(Pair(path, attribute, kind, frozenset() if kind else kinds))
        self.pairs: tuple[Pair, ...] = tuple(found)
        needed = ("cn", "sn") if is_person else ("cn",)
        self._fallbacks = [(name, self._paths(_FALLBACKS[name])) for name in needed]
        self.attributes: tuple[str, ...] = tuple(dict.fromkeys([*(x.attribute for x in found), *needed]))

    def _paths(self, texts: Sequence[str]) -> list[AttributePath]:
        return [path for path in map(self._type.path, texts) if path is not None]

    def of(self, path: AttributePath) -> list[Pair]:
        """Return the pairs of a SCIM path."""
        return [pair for pair in self.pairs if pair.path.text == path.text]

    def is_needed(self, attribute: str) -> bool:
        """Return whether every entry has an attribute, even if the resource has no value for it."""
        return any(name == attribute.lower() for name, _ in self._fallbacks)

    def tells(self, pair: Pair) -> bool:
        """Return whether the attribute of a pair has values of its path and the id only."""
        paths = next((paths for name, paths in self._fallbacks if name == pair.attribute), [])
        return all(path.text in (pair.path.text, "id") for path in paths)

    def project(self, document: Mapping[str, Any], refused: Collection[str]) -> Projection:
        """Return the projection of a resource without the attributes that the server refused."""
        values: dict[str, list[str]] = {}
        inexact = set()
        for pair in self.pairs:
            kept: dict[str, str] = {}
            for _, text in pair.elements(document):
                if not is_plain(text):
                    inexact.add(pair.attribute)
                key = equality_key(text)
                if pair.attribute in refused or not pair.is_accepted(text):
                    inexact.add(pair.attribute)
                elif kept.setdefault(key, text) != text and kept[key].casefold() != text.casefold():
                    inexact.add(pair.attribute)
            values[pair.attribute] = list(kept.values())
        for name, paths in self._fallbacks:
            texts = [v for path in paths for v in path.values(document) if isinstance(v, str)]
            usable = [text for text in texts if text.strip() and "\x00" not in text and name not in refused]
            values[name] = values.get(name) or [*usable[:1]] or ["-"]
        return Projection(values, frozenset(inexact))

    def take_back(
        self, document: dict[str, Any], found: Mapping[str, list[str]], projected: Mapping[str, list[str]]
    ) -> bool:
        """Bring changes by LDAP clients into `document`; return whether there are any.

        `found` has the present values of standard attributes, `projected` the values that this server wrote.
        """
        changed = False
        for pair in self.pairs:
            now, then = found.get(pair.attribute, []), projected.get(pair.attribute, [])
            if sorted(now) == sorted(then):
                continue
            if pair.is_single:
                changed = self._take_single(document, pair, now, then) or changed
            else:
                self._take_several(document, pair, now)
                changed = True
        return changed

    @staticmethod
    def _take_single(document: dict[str, Any], pair: Pair, now: list[str], then: list[str]) -> bool:
        fresh = [text for text in now if text not in then]
        if not fresh and not any(value in now for value in pair.path.values(document)):
            fresh = now
        if not fresh and (now or pair.path.leaf.required):
            return False
        _put(document, pair.path, fresh[0] if fresh else None)
        return True

    @staticmethod
    def _take_several(document: dict[str, Any], pair: Pair, now: list[str]) -> None:
        name = pair.path.leaf.name
        kept, left = [], {equality_key(text): text for text in now}
        keys, texts = frozenset(left), {id(element): text for element, text in pair.elements(document)}
        for element in pair.path.elements(document):
            text = texts.get(id(element))
            key = equality_key(text) if text is not None else None
            if text is not None and key not in keys and pair.is_accepted(text):
                continue
            kept.append(element)
            left.pop(key or "", None)
        kind = {"type": pair.kind} if pair.kind else {}
        kept += [{name: pair.value(text), **kind} for text in left.values()]
        if kept:
            document[pair.path.attribute.name] = kept
        else:
            document.pop(pair.path.attribute.name, None)


def _put(document: dict[str, Any], path: AttributePath, value: str | None) -> None:
    """Set or remove a single value; create and remove the objects around it as needed."""
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
    """Return the SSH key in a certificate value, plain or in base64, or None."""
    text = value
    if not _KEY.match(value):
        try:
            text = base64.b64decode(value, validate=True).decode("ascii")
        except ValueError:
            return None
    return text.strip() if _KEY.match(text) else None
