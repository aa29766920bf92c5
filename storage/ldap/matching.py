"""How a directory compares text, which is not how SCIM does: what is found by it all the same.

A directory ignores case one character at a time, and folds spaces and compatible characters (RFC
4518); SCIM compares by case folding and nothing else (RFC 7643 section 2.2).
"""

import re
import unicodedata

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_plain(text: str) -> bool:
    """Return whether a directory finds `text` by everything that SCIM finds it by.

    An "ß" is not plain: SCIM finds it by "ss". Neither are spaces at the ends or side by side.
    """
    if text.isascii():
        return not _CONTROLS.search(text) and text == " ".join(text.split())
    return (
        not _CONTROLS.search(text)
        and text == " ".join(text.split())
        and unicodedata.normalize("NFKC", text) == text
        and all(map(_folds_alone, text))
    )


def _folds_alone(character: str) -> bool:
    folded = character.casefold()
    if folded != character.lower() or len(folded) > 1:
        return False
    if character.lower() == character.upper():
        return True
    # Scripts whose capitals every directory knows, those of Unicode 3.2, as RFC 4518 demands.
    known = character < "\u0250" or "\u0370" <= character < "\u0530"
    return known and all(unicodedata.ucd_3_2_0.category(one) != "Cn" for one in (character, folded))


def substring(key: str) -> str | None:
    """Return what of a folded key can be looked for within plain text, None when nothing can."""
    if _CONTROLS.search(key) or "  " in key or unicodedata.normalize("NFKC", key) != key:
        return None
    return key.strip() or None


def equality_key(text: str) -> str:
    """Return text that is the same for values which a directory may take for the same."""
    return re.sub(r"[\s\-]+", "", unicodedata.normalize("NFKC", text)).casefold()


def is_exact(text: str) -> bool:
    """Return whether a directory finds a caseExact value by all that SCIM finds it by."""
    return text.isprintable() and text == " ".join(text.split()) and text.isascii()
