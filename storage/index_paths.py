"""Which attributes an index has entries for, and the rules that the entries are made by."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from schema.resource_type import AttributePath, ResourceType

EVERYTHING: Final = "*"
"""the name of all attributes, in INDEXED_ATTRIBUTES"""
USUAL: Final = "default"
"""the name of the attributes that clients filter by: all but those of `_UNUSUAL`"""

_USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
_ENTERPRISE: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
# Attributes of RFC 7643 that clients do not filter by, with all that is in them.
_UNUSUAL: Final[Mapping[str, frozenset[str]]] = {
    _USER: frozenset(
        "nickName profileUrl title userType preferredLanguage locale timezone "
        "emails.display emails.primary phoneNumbers ims photos addresses entitlements roles "
        "x509Certificates".split()
    ),
    _ENTERPRISE: frozenset("costCenter organization division department manager".split()),
}


def indexed_paths(
    resource_type: ResourceType, indexed: frozenset[str] | None = None
) -> Iterator[AttributePath]:
    """Yield the paths that an index has entries for, complex attributes before their sub-attributes.

    A complex attribute has an entry per element: it says that the element is there. Links between
    resources and `id` are found elsewhere; `schemas` are left to evaluation.
    `indexed` holds the paths to index, a complex attribute or the URN of an extension for all that
    is in it, `EVERYTHING`, or `USUAL`; unique attributes and `externalId` are indexed anyway. None is for
    `USUAL`. Of the usual complex attributes, only sub-attributes have entries.
    """
    names = frozenset({USUAL}) if indexed is None else indexed
    links = (resource_type.members, resource_type.memberships)
    # Clients look their own identifiers up, unique or not.
    wanted = {"externalId", *(path.text for path in resource_type.unique_paths)}
    wanted |= {path.text for name in names if (path := resource_type.path(name)) is not None}
    seen: set[str] = set()
    for path in resource_type.simple_paths:
        if path.attribute in links or path.text in ("id", "schemas") or path.leaf.returned == "never":
            continue
        if path.attribute.name == "meta":
            continue
        holder = AttributePath(path.attribute, None, path.extension)
        is_named = EVERYTHING in names or wanted & {path.text, holder.text, path.extension}
        if not is_named and not (USUAL in names and _is_usual(resource_type, path)):
            continue
        if is_named and path.sub_attribute is not None and holder.text not in seen:
            seen.add(holder.text)
            yield holder
        yield path


def _is_usual(resource_type: ResourceType, path: AttributePath) -> bool:
    unusual = _UNUSUAL.get(path.extension or resource_type.schema.id, frozenset())
    name = path.attribute.name
    return not unusual & {name, f"{name}.{path.leaf.name}"}


def entry_paths(resource_type: ResourceType, indexed: frozenset[str] | None = None) -> list[str]:
    """Return the text of every path of the type that has entries, dates included."""
    texts = ["meta.created", "meta.lastModified"]
    texts += [path.text for path in indexed_paths(resource_type, indexed)]
    texts += [path.text for path in resource_type.unique_paths]
    return list(dict.fromkeys(texts))


def numbered_paths(
    resource_type: ResourceType, indexed: frozenset[str] | None = None, known: Collection[str] = ()
) -> list[str]:
    """Return the text of every path of the type that needs a number in a relational index.

    Beside the paths with entries, these are extensions: an entry says that a resource has one. `known` are
    the paths that have numbers. Where the values of an extension are among them, the extension gets no
    entries, since those of all resources would be missing. Without a setting, all that is known stays.
    """
    urns = [
        extension.schema.id
        for extension in resource_type.extensions
        if indexed is None or indexed & {EVERYTHING, USUAL, extension.schema.id.lower()}
    ]
    texts = entry_paths(resource_type, indexed)
    if indexed is None:
        everything = entry_paths(resource_type, frozenset({EVERYTHING}))
        texts = [text for text in everything if text in texts or text in known]
    texts += [urn for urn in urns if urn in known or not any(text.startswith(f"{urn}:") for text in known)]
    return texts


def signature(resource_type: ResourceType, text: str) -> str:
    """Return what the entries of a path are made by: when it changes, they must be made again."""
    path = resource_type.path(text)
    assert path is not None
    leaf = path.leaf
    names = sorted(sub.name for sub in leaf.sub_attributes)
    parts = (leaf.type, leaf.case_exact, leaf.uniqueness, path.attribute.multi_valued, *names)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def rules_of(resource_type: ResourceType, texts: Iterable[str]) -> dict[str, str]:
    """Return the signature of each path."""
    return {text: signature(resource_type, text) for text in texts}


def rules_digest(*rules: Mapping[str, str], version: int) -> str:
    """Return 16 characters that differ when the rules of some types do, or the version of their entries."""
    parts = [str(version), *(f"{text} {rule}" for one in rules for text, rule in sorted(one.items()))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
