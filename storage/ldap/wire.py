"""LDAP operations on one connection (RFC 4511): search, add, modify, delete, password modify."""

import select
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ldap
from ldap.controls import LDAPControl
from ldap.controls.libldap import SimplePagedResultsControl
from ldap.controls.readentry import PostReadControl
from ldap.controls.sss import SSSRequestControl, SSSResponseControl
from ldap.controls.vlv import VLVRequestControl, VLVResponseControl

# Sizes of a page: the next smaller one follows when the server refuses one.
_PAGES = (500, 100, 20, 5)
# Results of a server that cannot sort, has too many entries to sort, or has none at the offset.
_NO_WINDOW = (
    ldap.VLV_ERROR,
    ldap.BUSY,
    ldap.UNWILLING_TO_PERFORM,
    ldap.UNAVAILABLE_CRITICAL_EXTENSION,
    ldap.INAPPROPRIATE_MATCHING,
    ldap.INSUFFICIENT_ACCESS,
    ldap.SIZELIMIT_EXCEEDED,
    ldap.TIMELIMIT_EXCEEDED,
    ldap.ADMINLIMIT_EXCEEDED,
    ldap.NO_SUCH_ATTRIBUTE,
    ldap.OTHER,
)
# After these errors, the server may have made the change.
_UNANSWERED = (
    ldap.SERVER_DOWN,
    ldap.CONNECT_ERROR,
    ldap.TIMEOUT,
    ldap.LOCAL_ERROR,
    ldap.DECODING_ERROR,
)
# The number of attempts to end a sorted list, and the seconds after each.
_ENDS = 20
_PAUSE_S = 0.002
# The number of searches that the client sends before it reads the first answer.
_AHEAD = 200

Attributes = Mapping[str, Sequence[bytes]]
Modification = tuple[int, str, list[bytes] | None]


@dataclass(frozen=True)
class Entry:
    """An entry of a search result; the names of its attributes are in lower case."""

    dn: str
    attributes: Attributes

    def values(self, name: str) -> list[str]:
        """Return the values of an attribute that are UTF-8."""
        values = self.attributes.get(name.lower())
        if not values:
            return []
        try:
            return [value.decode() for value in values]
        except UnicodeDecodeError:
            return [value.decode() for value in values if _is_text(value)]

    def value(self, name: str) -> str | None:
        """Return the first value of an attribute, or None."""
        values = self.values(name)
        return values[0] if values else None

    def number(self, name: str) -> int | None:
        """Return the first value of an attribute as a number, or None."""
        value = self.value(name) or ""
        return int(value) if value.isascii() and value.isdigit() else None


class Session:
    """One bound connection."""

    def __init__(self, connection: Any, poll: "select.poll") -> None:
        self._connection = connection
        self._poll = poll
        self._page_size = _PAGES[0]
        # Whether the server keeps a sorted list for this connection: closing it frees the list.
        self.is_spent = False
        # DNs of the entries that the present lease has written, or may have written.
        self.written: list[str] = []
        poll.register(connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)

    @property
    def is_lost(self) -> bool:
        """Whether the idle connection has input: the server has ended it (notice of disconnection)."""
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """End the connection."""
        with suppress(ldap.LDAPError):
            self._connection.unbind_ext_s()

    # -- reading

    def read(self, dn: str, attributes: Sequence[str], controls: Sequence[LDAPControl] = ()) -> Entry | None:
        """Return the entry with a DN, or None."""
        return next(iter(self.read_many([dn], attributes, controls)), None)

    def read_many(
        self, names: Iterable[str], attributes: Sequence[str], controls: Sequence[LDAPControl] = ()
    ) -> Iterator[Entry]:
        """Yield the existing entries among `names` (DNs); the searches run in parallel."""
        pending: list[int] = []
        try:
            for dn in names:
                pending.append(self._asked(dn, ldap.SCOPE_BASE, "(objectClass=*)", attributes, controls))
                if len(pending) >= _AHEAD:
                    yield from self._answer(pending.pop(0))
            while pending:
                yield from self._answer(pending.pop(0))
        finally:
            for message in pending:
                with suppress(ldap.LDAPError):
                    self._connection.abandon(message)

    def find(self, base: str, text: str, attributes: Sequence[str]) -> list[Entry]:
        """Return every entry below `base` that matches a filter, read in pages (RFC 2696)."""
        paging = SimplePagedResultsControl(True, size=self._page_size, cookie="")
        entries: list[Entry] = []
        while True:
            message = self._asked(base, ldap.SCOPE_SUBTREE, text, attributes, [paging])
            try:
                _, found, _, answered = self._connection.result3(message, timeout=self._connection.timeout)
            except ldap.ADMINLIMIT_EXCEEDED:
                smaller = next((size for size in _PAGES if size < paging.size), None)
                if paging.cookie or smaller is None:
                    raise
                self._page_size = paging.size = smaller
                continue
            entries += _entries(found)
            cookies = [c.cookie for c in answered if c.controlType == paging.controlType]
            if not cookies or not cookies[0]:
                return entries
            paging.cookie = cookies[0]

    def window(
        self, base: str, text: str, keys: Sequence[str], offset: int, count: int, attributes: Sequence[str]
    ) -> tuple[list[Entry], int] | None:
        """Return a window of the list that the server sorts, and the length of that list.

        `offset` counts from 0, `keys` are sort keys of RFC 2891. Return None if the server refuses.
        """
        view = VLVRequestControl(True, 0, max(0, count - 1), offset=offset + 1, content_count=0)
        # The server keeps the list until the connection ends, and keeps few lists.
        self.is_spent = True
        answer = self._sorted(base, text, keys, attributes if count else ["1.1"], view)
        if answer is None:
            return None
        views = (one for one in answer[1] if isinstance(one, VLVResponseControl) and not one.result)
        total = next((one.contentCount for one in views), None)
        return (answer[0][:count], total) if total is not None else None

    def beginning(
        self, base: str, text: str, keys: Sequence[str], count: int, attributes: Sequence[str]
    ) -> tuple[list[Entry], int] | None:
        """Return the first part of the list that OpenLDAP sorts, and the length of that list.

        The connection can be used again, unlike after `window`. Return None if the server refuses.
        """
        paging = SimplePagedResultsControl(True, size=max(1, count), cookie="")
        self.is_spent = True
        answer = self._sorted(base, text, keys, attributes if count else ["1.1"], paging)
        pages = [one for one in answer[1] if one.controlType == paging.controlType] if answer else []
        if answer is None or not pages:
            return None
        paging.size, paging.cookie = 0, pages[0].cookie
        # A page of no entries ends the list. The server refuses it until the thread of the page before ends.
        attempts = _ENDS if paging.cookie else 0
        while attempts and self._sorted(base, text, keys, ["1.1"], paging) is None:
            attempts -= 1
            time.sleep(_PAUSE_S)
        self.is_spent = bool(paging.cookie) and not attempts
        # OpenLDAP counts the entries that follow the page.
        return answer[0][:count], len(answer[0]) + pages[0].size

    def _sorted(
        self, base: str, text: str, keys: Sequence[str], attributes: Sequence[str], part: LDAPControl
    ) -> tuple[list[Entry], list[Any]] | None:
        """Return entries in the order of the server and the controls of the answer, None if it refuses."""
        controls = [SSSRequestControl(True, list(keys)), part]
        message = self._asked(base, ldap.SCOPE_SUBTREE, text, attributes, controls)
        try:
            _, found, _, answered = self._connection.result3(message, timeout=self._connection.timeout)
        except _NO_WINDOW:
            return None
        if any(isinstance(one, SSSResponseControl) and one.sortResult for one in answered):
            return None
        return list(_entries(found)), answered

    def has(self, base: str, text: str) -> bool:
        """Return whether an entry below `base` matches a filter."""
        message = self._asked(base, ldap.SCOPE_SUBTREE, text, ["1.1"], (), sizelimit=1)
        try:
            return bool(list(self._answer(message)))
        except ldap.SIZELIMIT_EXCEEDED:
            return True

    def _asked(
        self,
        base: str,
        scope: int,
        text: str,
        attributes: Sequence[str],
        controls: Sequence[LDAPControl],
        sizelimit: int = 0,
    ) -> int:
        message: int = self._connection.search_ext(
            base, scope, text, list(attributes), serverctrls=list(controls), sizelimit=sizelimit
        )
        return message

    def _answer(self, message: int) -> Iterator[Entry]:
        try:
            _, found, _, _ = self._connection.result3(message, timeout=self._connection.timeout)
        except (ldap.NO_SUCH_OBJECT, ldap.INVALID_DN_SYNTAX):
            return
        yield from _entries(found)

    # -- writing; `returning` names an operational attribute: its value after the change is returned

    def add(self, dn: str, attributes: Attributes, returning: str | None = None) -> str | None:
        """Add an entry."""
        entry = [(name, list(values)) for name, values in attributes.items() if values]
        with self._writing(dn):
            answered = self._connection.add_ext_s(dn, entry, serverctrls=_post_read(returning))
        return _returned(answered, returning)

    def modify(
        self, dn: str, modifications: Sequence[Modification], returning: str | None = None
    ) -> str | None:
        """Modify an entry; the server makes all modifications or none."""
        sent = _post_read(returning)
        with self._writing(dn):
            answered = self._connection.modify_ext_s(dn, list(modifications), serverctrls=sent)
        return _returned(answered, returning)

    def delete(self, dn: str, controls: Sequence[LDAPControl] = ()) -> None:
        """Delete an entry."""
        with self._writing(dn):
            self._connection.delete_ext_s(dn, serverctrls=list(controls))

    def set_password(self, dn: str, password: str) -> None:
        """Set the password of an entry; the server hashes it (RFC 3062)."""
        with self._writing(dn):
            self._connection.passwd_s(dn, None, password)

    @contextmanager
    def _writing(self, dn: str) -> Iterator[None]:
        """Record an entry as written, unless the server refuses the change."""
        try:
            yield
        except ldap.LDAPError as exc:
            if isinstance(exc, _UNANSWERED):
                self.written.append(dn)
            raise
        self.written.append(dn)


def _entries(found: Iterable[Any]) -> Iterator[Entry]:
    for dn, attributes in found:
        # An answer without a DN is a reference to another server.
        if dn is not None:
            yield Entry(dn, {name.lower(): values for name, values in attributes.items()})


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _post_read(returning: str | None) -> list[LDAPControl]:
    return [PostReadControl(criticality=True, attrList=[returning])] if returning else []


def _returned(answered: Any, returning: str | None) -> str | None:
    for control in answered[3] if returning else ():
        if control.controlType == PostReadControl.controlType:
            for name, values in control.entry.items():
                if name.lower() == str(returning).lower():
                    return bytes(values[0]).decode()
    return None
