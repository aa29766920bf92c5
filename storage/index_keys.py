"""What values are found by, wherever an index of our own holds them: short keys, and of which paths."""

import hashlib
from collections.abc import Iterator

from schema.resource_type import AttributePath, ResourceType

# Values longer than this are indexed by their beginning and a digest, so that an index entry
# stays below the limits of every database (MariaDB allows 3,072 bytes).
KEY_LENGTH = 256
LAST_CHARACTER = "\U0010ffff"


def index_key(key: str) -> str:
    """Return a comparison key short enough for an index; equal keys stay equal, others differ."""
    if len(key) <= KEY_LENGTH:
        return key
    return f"{key[:KEY_LENGTH]}{LAST_CHARACTER}{hashlib.sha256(key.encode()).hexdigest()}"


def place_of(number: int) -> str:
    """Return the place of what has a number from 0 on in the order of a backend."""
    return f"{number:016x}"


def number_at(place: str) -> int:
    """Return the number that `place_of` was given."""
    return int(place, 16)


def successor(text: str) -> str | None:
    """Return the least text that is greater than everything that begins with `text`."""
    while text:
        last = ord(text[-1])
        if last < 0x10FFFF:
            # Surrogates are no characters of text.
            return text[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)
        text = text[:-1]
    return None


def indexed_paths(
    resource_type: ResourceType, indexed: frozenset[str] | None = None
) -> Iterator[AttributePath]:
    """Yield the paths that an index has entries for, complex attributes before their sub-attributes.

    A complex attribute has an entry per element: it says that the element is there. Links between
    resources and `id` are found elsewhere; `schemas` are left to evaluation.
    `indexed` holds the paths to index, a complex attribute or the URN of an extension for all that
    is in it; unique attributes and `externalId` are indexed anyway. None is for everything.
    """
    links = (resource_type.members, resource_type.memberships)
    # Clients look their own identifiers up, unique or not.
    wanted = {"externalId", *(path.text for path in resource_type.unique_paths)}
    wanted |= {path.text for name in indexed or () if (path := resource_type.path(name)) is not None}
    seen: set[str] = set()
    for path in resource_type.simple_paths:
        if path.attribute in links or path.text in ("id", "schemas") or path.leaf.returned == "never":
            continue
        if path.attribute.name == "meta":
            continue
        holder = AttributePath(path.attribute, None, path.extension)
        if indexed is not None and not wanted & {path.text, holder.text, path.extension}:
            continue
        if path.sub_attribute is not None and holder.text not in seen:
            seen.add(holder.text)
            yield holder
        yield path


def numbered_paths(resource_type: ResourceType, indexed: frozenset[str] | None = None) -> list[str]:
    """Return the text of every path of the type that needs a number."""
    texts = ["meta.created", "meta.lastModified"]
    texts += [path.text for path in indexed_paths(resource_type, indexed)]
    texts += [path.text for path in resource_type.unique_paths]
    return list(dict.fromkeys(texts))


def signature(resource_type: ResourceType, text: str) -> str:
    """Return what the entries of a path are made by: when it changes, they must be made again."""
    path = resource_type.path(text)
    assert path is not None
    leaf = path.leaf
    names = sorted(sub.name for sub in leaf.sub_attributes)
    parts = (leaf.type, leaf.case_exact, leaf.uniqueness, path.attribute.multi_valued, *names)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
