"""The catalogue of a zone, with the rules and the error numbers of iRODS 5.0.2."""

import hashlib
import itertools
import re
import time
from dataclasses import dataclass, field

from irods.password_obfuscation import unscramble

from tests.fake_irods.data import Data, Refused

_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,63}", re.ASCII)
_TYPES = ("rodsuser", "rodsgroup", "rodsadmin", "groupadmin")
# What the client appends to short passwords before it obfuscates them.
_PADDING = "1gCBizHWbwIYyWLoysGzTe6SyzqFKMniZX05faZHWAwQKXf6Fs"

Avu = tuple[str, str, str]


@dataclass
class Account:
    """A user or a group."""

    number: int
    name: str
    kind: str
    zone: str
    password: str = ""
    created: int = field(default_factory=lambda: int(time.time()))
    modified: int = field(default_factory=lambda: int(time.time()))
    # In order of addition.
    avus: dict[Avu, None] = field(default_factory=dict)
    groups: set[int] = field(default_factory=set)
    members: set[int] = field(default_factory=set)


class Catalog(Data):
    """Accounts by id, collections and data objects by path; every method is one transaction."""

    def __init__(self, zone: str, admin: str, password: str) -> None:
        super().__init__(zone, admin)
        self.admin = admin
        self.accounts: dict[int, Account] = {}
        self.names: dict[str, Account] = {}
        # As a database would, to find few among many.
        self.by_value: dict[str, set[int]] = {}
        self.by_upper_name: dict[str, set[int]] = {}
        self._numbers = itertools.count(10001)
        self.add("rodsadmin", "rodsgroup")
        self.add("public", "rodsgroup")
        self.add(admin, "rodsadmin").password = password
        self._mine = set(self.accounts)
        self._first = dict(self.collections)

    def empty(self) -> None:
        """Remove all that was not there at first."""
        with self.lock:
            for number in set(self.accounts) - self._mine:
                self._drop(self.accounts[number])
            for account in self.accounts.values():
                account.avus = {}
            self.by_value.clear()
            self.empty_data(self._first)

    # -- accounts

    def account(self, name: str) -> Account:
        user, _, zone = name.partition("#")
        found = self.names.get(user)
        if found is None or zone not in ("", self.zone):
            raise Refused(-827000)
        return found

    def add(self, name: str, kind: str) -> Account:
        if "#" in name:
            raise Refused(-828000)
        if not _NAME.fullmatch(name) or name in (".", ".."):
            raise Refused(-319000)
        if kind not in _TYPES:
            raise Refused(-820000)
        with self.lock:
            if name in self.names:
                raise Refused(-809000)
            account = Account(next(self._numbers), name, kind, self.zone)
            self.accounts[account.number] = self.names[name] = account
            self.by_upper_name.setdefault(name.upper(), set()).add(account.number)
            # Everybody is a member of a group of their own.
            account.groups.add(account.number)
            account.members.add(account.number)
            self.collections[f"/{self.zone}/home/{name}"] = name
            if kind != "rodsgroup":
                self.collections[f"/{self.zone}/trash/home/{name}"] = name
                self.join("public", name)
            return account

    def remove(self, name: str) -> None:
        with self.lock:
            account = self.account(name)
            if account.name == self.admin:
                raise Refused(-830000)
            homes = [f"/{self.zone}/home/{account.name}", f"/{self.zone}/trash/home/{account.name}"]
            if any(self.holds_something(home) for home in homes):
                raise Refused(-821000)
            self._drop(account)

    def _drop(self, account: Account) -> None:
        for group in account.groups:
            self.accounts[group].members.discard(account.number)
        for member in account.members:
            if member in self.accounts:
                self.accounts[member].groups.discard(account.number)
        del self.accounts[account.number], self.names[account.name]
        self.by_upper_name[account.name.upper()].discard(account.number)
        self._index(account, {})
        for home in (f"/{self.zone}/home/{account.name}", f"/{self.zone}/trash/home/{account.name}"):
            for path in [path for path in self.collections if f"{path}/".startswith(f"{home}/")]:
                del self.collections[path]

    def join(self, group: str, user: str) -> None:
        with self.lock:
            found, member = self._group(group), self.account(user)
            if member.kind == "rodsgroup":
                raise Refused(-827000)
            if member.number in found.members:
                raise Refused(-809000)
            found.members.add(member.number)
            member.groups.add(found.number)

    def leave(self, group: str, user: str) -> None:
        with self.lock:
            found, member = self._group(group), self.account(user)
            if member.number not in found.members:
                raise Refused(-1830000)
            found.members.discard(member.number)
            member.groups.discard(found.number)

    def _group(self, name: str) -> Account:
        found = self.account(name)
        if found.kind != "rodsgroup":
            raise Refused(-827000)
        return found

    def set_password(self, name: str, obfuscated: str, admin_password: str, signature: str) -> None:
        """Keep a password that came obfuscated with that of the administrator and the challenge."""
        key = f"{admin_password[:90] + signature[:100]:\x00<100}"
        hashed = hashlib.md5(key.encode()).hexdigest()
        plain = unscramble(obfuscated, key=hashed, scramble_prefix="", block_chaining=True)
        # In front stands a random character and the name of the method.
        plain = plain.partition(".ObfV2")[2]
        for length in range(len(_PADDING), 15, -1):
            if plain.endswith(_PADDING[:length]):
                plain = plain[:-length]
                break
        with self.lock:
            self.account(name).password = plain
            self.account(name).modified = int(time.time())

    # -- metadata

    def change_avus(self, name: str, operations: list[tuple[str, Avu]], strictly: bool) -> None:
        """Add and remove metadata, all or nothing; strictly, what changes nothing is an error."""
        with self.lock:
            account = self.account(name)
            avus = dict(account.avus)
            for operation, avu in operations:
                attribute, value, unit = avu
                if not attribute or not value:
                    raise Refused(-130000)
                if max(len(attribute), len(value)) > 2700 or len(unit) > 250:
                    raise Refused(-806000)
                if strictly and operation == "add" and avu in avus:
                    raise Refused(-809000)
                if strictly and operation == "rm" and avu not in avus:
                    raise Refused(-819000)
                if operation == "set":
                    avus = {known: None for known in avus if known[0] != attribute}
                if operation in ("add", "set"):
                    avus[avu] = None
                else:
                    avus.pop(avu, None)
            self._index(account, avus)
            account.avus = avus

    def _index(self, account: Account, avus: dict[Avu, None]) -> None:
        for _, value, _ in account.avus:
            self.by_value.get(value, set()).discard(account.number)
        for _, value, _ in avus:
            self.by_value.setdefault(value, set()).add(account.number)
