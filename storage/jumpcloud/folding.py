"""Regular expressions that find a text in any case, by the rules by which SCIM compares.

They are made of characters and classes of characters alone: every engine reads those alike. Letters
whose folded form is longer, such as the German sharp s, are found too; some expressions find a
little more than they should, none finds less.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

# No letter that has a case is beyond.
_LAST_CASED: Final = 0x1F000

# The longest text that becomes an expression; of a longer one, the beginning does.
LONGEST: Final = 200


@cache
def _variants() -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return what folds to each character, and what folds to each longer text."""
    single: dict[str, str] = {}
    longer: dict[str, str] = {}
    for code in range(_LAST_CASED):
        character = chr(code)
        folded = character.casefold()
        if folded != character:
            kept = single if len(folded) == 1 else longer
            kept[folded] = kept.get(folded, "") + character
    return single, longer


def folded_pattern(key: str, operator: str) -> str:
    """Return an expression for what, folded, compares to `key` by `eq`, `sw`, `ew` or `co`."""
    single, longer = _variants()
    parts, position = [], 0
    for start, end, extra in _spans(key, operator, longer):
        parts += [_class(c + single.get(c, "")) for c in key[position:start]]
        inside = "".join(c + single.get(c, "") for c in key[start:end])
        parts.append(f"{_class(inside + extra)}{{1,{end - start}}}")
        position = end
    parts += [_class(c + single.get(c, "")) for c in key[position:]]
    return _anchored("".join(parts), operator)


def exact_pattern(text: str, operator: str) -> str:
    """Return an expression for what compares to `text` by `eq`, `sw`, `ew` or `co`, case included."""
    return _anchored("".join(map(_class, text)), operator)


def _anchored(pattern: str, operator: str) -> str:
    begins = "^" if operator in ("eq", "sw") else ""
    ends = "$" if operator in ("eq", "ew") else ""
    return f"{begins}{pattern}{ends}"


def _spans(key: str, operator: str, longer: Mapping[str, str]) -> list[tuple[int, int, str]]:
    """Return the parts of `key` that one character may stand for, with those characters."""
    merged: list[tuple[int, int, str]] = []
    for start, end, extra in sorted(_overlaps(key, operator, longer)):
        if merged and start < merged[-1][1]:
            before = merged.pop()
            start, end, extra = before[0], max(end, before[1]), before[2] + extra
        merged.append((start, end, extra))
    return merged


def _overlaps(key: str, operator: str, longer: Mapping[str, str]) -> Iterator[tuple[int, int, str]]:
    for text, characters in longer.items():
        # What is looked for may begin or end in the middle of such a letter.
        first = 1 - len(text) if operator in ("ew", "co") else 0
        last = len(key) - 1 if operator in ("sw", "co") else len(key) - len(text)
        for offset in range(first, last + 1):
            start, end = max(0, offset), min(len(key), offset + len(text))
            if key[start:end] == text[start - offset : end - offset]:
                yield start, end, characters


def _class(characters: str) -> str:
    unique = dict.fromkeys(characters)
    escaped = "".join(c if c.isalnum() or not c.isascii() else f"\\{c}" for c in unique)
    return escaped if len(unique) == 1 else f"[{escaped}]"
