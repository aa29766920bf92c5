"""Where the text of a setting comes from: its variable, or for a secret a file that a variable names."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

# A name below this length is near to too many that have nothing to do with us, such as HOSTS.
_LEAST: Final = 6
# How near a name must be; and how near when it begins as several of our variables do.
_NEAR: Final = 0.88
_NEAR_IN_FAMILY: Final = 0.78
_FAMILY: Final = 3
# What Kubernetes and Docker set for a service: SCIM_SERVICE_PORT, SCIM_PORT_80_TCP_ADDR.
_OF_SERVICES: Final = re.compile(r"\w+_(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_OF_SERVICE_PORT: Final = re.compile(r"(tcp|udp|sctp)://")
# Everything in a URL that may be a password: userinfo ends at the last @.
_USERINFO: Final = re.compile(r"://[^\s'\",]*@")


class Unusable(ValueError):
    """A variable that cannot be read; the text begins with its name and has nothing of a secret."""


def file_variable(name: str) -> str:
    """Return the variable that names a file with the value of another."""
    return f"{name}_FILE"


def read_variable(
    environ: Mapping[str, str], names: Iterable[str], secret: bool
) -> tuple[str, str | None]:
    """Return the variable that is set, of several spellings of one setting, and its text or None.

    An empty variable hides no other spelling. A secret may come from a file, whose final line break does
    not count. Raises Unusable when a variable and a file are set, when spellings differ, and for a file
    that is empty or cannot be read.
    """
    spellings = list(names)
    given = [n for n in spellings if n in environ and not _is_of_a_service(n, environ[n])]
    found = _one_of(environ, given)
    file = _one_of(environ, map(file_variable, spellings)) if secret else None
    if file is None:
        # An empty variable is returned as one: an empty API_KEY is not the same as none.
        found = found or next(iter(given), None)
        return (found, environ[found]) if found else (spellings[0], None)
    if found:
        raise Unusable(f"{found}, {file}: only one of them can be set")
    return file, _content(file, environ[file])


def _one_of(environ: Mapping[str, str], spellings: Iterable[str]) -> str | None:
    """Return the first variable that is not empty. Raises Unusable when another one has another text."""
    filled = [name for name in spellings if environ.get(name)]
    if len({environ[name] for name in filled}) > 1:
        raise Unusable(f"{', '.join(filled)}: are spellings of one setting and differ; set only one of them")
    return next(iter(filled), None)


def _content(variable: str, path: str) -> str:
    try:
        text = Path(path).expanduser().read_bytes().decode()
    except UnicodeDecodeError:
        # The exception would quote the secret.
        raise Unusable(f"{variable}: the file is not UTF-8 text") from None
    except (OSError, RuntimeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise Unusable(f"{variable}: the file cannot be read: {reason}") from exc
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise Unusable(f"{variable}: the file is empty")
    return text


def doubtful(environ: Mapping[str, str], ours: Iterable[str]) -> list[str]:
    """Return a line for each variable that is not one of `ours` and looks as if it was meant to be."""
    known = set(ours)
    lines = []
    for name in sorted(set(environ) - known):
        stem = name.upper().removesuffix(file_variable(""))
        if name.upper() == file_variable(stem) and stem in known:
            lines.append(f"{name} is not a setting and has no effect: set {stem}, which is read from no file")
            continue
        meant = None if _is_of_a_service(name, environ[name]) else _nearest(name, known)
        if meant:
            lines.append(f"{name} is not a setting and has no effect; did you mean {meant}?")
    return lines


def _is_of_a_service(name: str, value: str) -> bool:
    if name.endswith("_PORT") and _OF_SERVICE_PORT.match(value):
        return True
    return _OF_SERVICES.fullmatch(name) is not None


def _nearest(name: str, known: set[str]) -> str | None:
    families = Counter(one.partition("_")[0] for one in known)
    wanted = name.upper()
    is_family = families[wanted.partition("_")[0]] >= _FAMILY
    if len(wanted) < _LEAST:
        return None
    able = [one for one in known if len(one) >= _LEAST]
    near = difflib.get_close_matches(wanted, sorted(able), 1, _NEAR_IN_FAMILY if is_family else _NEAR)
    if not near:
        return None
    # MONGO_DB_URL is nearer to MONGO_DB_FILE than to MONGO_DB, and names no file.
    names_file = difflib.get_close_matches(wanted.rpartition("_")[2], ["FILE", "FILES"], 1)
    return near[0] if names_file else near[0].removesuffix("_FILE")


def without_passwords(text: str) -> str:
    """Return `text` with user and password of every URL in it left out."""
    return _USERINFO.sub("://***@", text)
