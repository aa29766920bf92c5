"""The catalogue of a zone, with the rules and the error numbers of iRODS 5.0.2."""

import hashlib
import itertools
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from irods.password_obfuscation import unscramble

from storage.irods.form import HOLDER
from tests.fake_irods.data import Data, Refused
from tests.fake_irods.metadata import Avu, Metadata

_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,63}", re.ASCII)
_TYPES = ("rodsuser", "rodsgroup", "rodsadmin", "groupadmin")
# What the client appends to short passwords before it obfuscates them.
_PADDING = "1gCBizHWbwIYyWLoysGzTe6SyzqFKMniZX05faZHWAwQKXf6Fs"


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
    metadata: Metadata = field(default_factory=Metadata, repr=False)
    groups: set[int] = field(default_factory=set)
    members: set[int] = field(default_factory=set)

    @property
    def avus(self) -> list[Avu]:
        """The metadata in order of addition; twin rows are there twice."""
        return list(self.metadata.attached(self.number).values())

    @avus.setter
    def avus(self, avus: Iterable[Avu]) -> None:
        self.metadata.detach_all(self.number)
        for avu in avus:
            self.metadata.attach(self.number, self.metadata.first(avu) or self.metadata.insert(avu))


class Catalog(Data):
    """Accounts by id, collections and data objects by path.

    Every method is one transaction. Two additions of metadata do not see each other for `window_s`, in
    seconds: they look for a row, and later insert or attach it.
    """

    def __init__(self, zone: str, admin: str, password: str) -> None:
        super().__init__(zone, admin)
        self.admin = admin
        self.window_s = 0.001
        self.metadata = Metadata()
        self.accounts: dict[int, Account] = {}
        self.names: dict[str, Account] = {}
        # As a database would, to find few among many.
        self.by_upper_name: dict[str, set[int]] = {}
        self._numbers = itertools.count(10001)
        self.add("public", "rodsgroup")
        self.add(admin, "rodsadmin").password = password
        self._mine = set(self.accounts)
        self._first = dict(self.collections)

    def empty(self) -> None:
        """Remove all that was not there at first, except what a service makes once at its start."""
        with self.lock:
            for account in list(self.accounts.values()):
                if account.number in self._mine:
                    account.avus = []
                elif account.name != HOLDER:
                    self._drop(account)
            self.metadata.purge()
            self.empty_data(self._first | self.homes_of(HOLDER))

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
            account = Account(next(self._numbers), name, kind, self.zone, metadata=self.metadata)
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

    def homes_of(self, name: str) -> dict[str, str]:
        """Return the home collection of an account with its owner."""
        home = f"/{self.zone}/home/{name}"
        return {home: name} if home in self.collections else {}

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
        self.metadata.detach_all(account.number)
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

    def add_avu(self, name: str, avu: Avu) -> None:
        """Attach metadata that is not attached yet."""
        with self.lock:
            self.account(name)
            self._require_fitting(avu)
            row = self.metadata.first(avu)
        time.sleep(self.window_s)
        with self.lock:
            number = self.account(name).number
            if self.metadata.is_attached(number, row):
                raise Refused(-809000)
            self.metadata.attach(number, row or self.metadata.insert(avu))

    def remove_avu(self, name: str, avu: Avu) -> None:
        """Detach every row of some metadata."""
        with self.lock:
            number = self.account(name).number
            rows = [row for row in self.metadata.twins(avu) if self.metadata.is_attached(number, row)]
            if not rows:
                raise Refused(-819000)
            for row in rows:
                self.metadata.detach(number, row)

    def set_avu(self, name: str, avu: Avu) -> None:
        """Attach metadata in place of all with its attribute."""
        with self.lock:
            account = self.account(name)
            self._require_fitting(avu)
            account.avus = [*(known for known in account.avus if known[0] != avu[0]), avu]

    def change_avus(self, name: str, operations: list[tuple[str, Avu]]) -> None:
        """Attach and detach metadata, all or nothing.

        A removal finds one row of its triple, and passes where the account has another one. Of two additions
        of one row to one account at once, one fails.
        """
        with self.lock:
            account = self.account(name)
            wanted = dict.fromkeys(self.metadata.attached(account.number))
            new: dict[Avu, None] = {}
            for operation, avu in operations:
                self._require_fitting(avu)
                row = self.metadata.first(avu)
                if operation == "rm":
                    new.pop(avu, None)
                    wanted.pop(row or 0, None)
                elif row is None:
                    new[avu] = None
                else:
                    wanted[row] = None
            before = set(self.metadata.attached(account.number))
        joining = [row for row in wanted if row not in before]
        if joining or new:
            time.sleep(self.window_s)
        with self.lock:
            number = self.account(name).number
            if any(self.metadata.is_attached(number, row) for row in joining):
                raise Refused(-167000)
            for row in before - wanted.keys():
                self.metadata.detach(number, row)
            for row in [*joining, *map(self.metadata.insert, new)]:
                self.metadata.attach(number, row)

    def purge(self) -> None:
        """Remove the metadata that is attached to nothing."""
        with self.lock:
            self.metadata.purge()

    @staticmethod
    def _require_fitting(avu: Avu) -> None:
        attribute, value, unit = avu
        if not attribute or not value:
            raise Refused(-130000)
        if max(len(attribute), len(value)) > 2700 or len(unit) > 250:
            raise Refused(-806000)
