"""Regular expressions that find a text in any case, as SCIM compares text.

They consist of characters and character classes, which have one meaning in every engine. They also find
letters with a longer folded form, such as the German sharp s. An expression finds no less than SCIM
does, and sometimes a little more.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

# No letter with a case has a greater code.
_LAST_CASED: Final = 0x1F000

# The longest text in an expression; the callers cut longer ones.
LONGEST: Final = 200


@cache
def _variants() -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the characters that fold to each character, and those that fold to each longer text."""
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
    """Return an expression for the texts that satisfy an operator with the folded `key`, in any case."""
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
    """Return an expression for the texts that satisfy an operator with `text`, in this case."""
    return _anchored("".join(map(_class, text)), operator)


def _anchored(pattern: str, operator: str) -> str:
    begins = "^" if operator in ("eq", "sw") else ""
    ends = "$" if operator in ("eq", "ew") else ""
    return f"{begins}{pattern}{ends}"


def _spans(key: str, operator: str, longer: Mapping[str, str]) -> list[tuple[int, int, str]]:
    """Return the parts of `key` that one character may replace, with these characters."""
    merged: list[tuple[int, int, str]] = []
    for start, end, extra in sorted(_overlaps(key, operator, longer)):
        if merged and start < merged[-1][1]:
            before = merged.pop()
            start, end, extra = before[0], max(end, before[1]), before[2] + extra
        merged.append((start, end, extra))
    return merged


def _overlaps(key: str, operator: str, longer: Mapping[str, str]) -> Iterator[tuple[int, int, str]]:
    for text, characters in longer.items():
        # The text may begin or end in the middle of such a letter.
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
