"""A directory, a zone and an organisation in which another program has made a user and a group."""

from collections.abc import Callable
from typing import Any, Protocol

import ldap

from storage.irods.form import SYSTEM_NAMES

NAMES = ("localadmin", "wheel")
"""The name of the user, and that of the group. The user is its only member."""


class Elsewhere(Protocol):
    """What another program does in a backend, by names."""

    def plant(self) -> None:
        """Make the user and the group of NAMES."""

    def names(self) -> set[str]:
        """Return the name of every user and group, whoever made it."""

    def members(self, group: str) -> set[str]:
        """Return the names of the members of a group."""

    def join(self, group: str, user: str) -> None:
        """Make a user a member of a group."""


class InLdap:
    """A base of an LDAP server."""

    def __init__(self, server: Any, base: str) -> None:
        self._server = server
        self._base = base

    def _dn(self, name: str) -> str:
        text = f"(&(|(uid={name})(cn={name}))(!(objectClass=device)))"
        [(dn, _)] = self._found(text)
        return dn

    def _found(self, text: str) -> Any:
        connection = self._server.connect()
        found = connection.search_s(self._base, ldap.SCOPE_SUBTREE, text, ["uid", "cn", "member"])
        connection.unbind_s()
        return found

    def plant(self) -> None:
        connection = self._server.connect()
        user = {"objectClass": [b"inetOrgPerson"], "cn": [b"Local Admin"], "sn": [b"Admin"]}
        connection.add_s(f"uid=localadmin,ou=Users,{self._base}", list(user.items()))
        member = [f"uid=localadmin,ou=Users,{self._base}".encode()]
        group = {"objectClass": [b"groupOfMembers"], "member": member}
        connection.add_s(f"cn=wheel,ou=Groups,{self._base}", list(group.items()))
        connection.unbind_s()

    def names(self) -> set[str]:
        found = self._found("(|(objectClass=inetOrgPerson)(objectClass=groupOfMembers))")
        return {values.get("uid", values["cn"])[0].decode() for _, values in found}

    def members(self, group: str) -> set[str]:
        users = {dn: values["uid"][0].decode() for dn, values in self._found("(objectClass=inetOrgPerson)")}
        [(_, values)] = self._found(f"(cn={group})")
        # Of a member that is gone, the name alone is left.
        return {users.get(dn.decode(), dn.decode()) for dn in values.get("member", ())}

    def join(self, group: str, user: str) -> None:
        change = [(ldap.MOD_ADD, "member", [self._dn(user).encode()])]
        connection = self._server.connect()
        connection.modify_s(self._dn(group), change)
        connection.unbind_s()


class InZone:
    """A zone of iRODS."""

    def __init__(self, server: Any, database: str) -> None:
        self._catalog = server.zone(database).catalog

    def plant(self) -> None:
        self._catalog.add("localadmin", "rodsuser")
        self._catalog.add("wheel", "rodsgroup")
        self.join("wheel", "localadmin")

    def names(self) -> set[str]:
        system = {*SYSTEM_NAMES, self._catalog.admin}
        return set(self._catalog.names) - system

    def members(self, group: str) -> set[str]:
        account = self._catalog.names[group]
        names = {self._catalog.accounts[number].name for number in account.members}
        return names - {group}

    def join(self, group: str, user: str) -> None:
        self._catalog.join(group, user)


class InOrganisation:
    """An organisation of JumpCloud."""

    def __init__(self, server: Any, database: str) -> None:
        self._organisation = server.organisations[database]

    def plant(self) -> None:
        self._organisation.create_user({"username": "localadmin", "email": "admin@example.org"})
        self._organisation.create_group({"name": "wheel"})
        self.join("wheel", "localadmin")

    def names(self) -> set[str]:
        users = {user["username"] for user in self._organisation.users.values()}
        return users | {group["name"] for group in self._organisation.groups.values()}

    def members(self, group: str) -> set[str]:
        [found] = [one for one in self._organisation.groups.values() if one["name"] == group]
        self._organisation.settle(everything=True)
        return {self._organisation.users[i]["username"] for i in self._organisation.members[found["id"]]}

    def join(self, group: str, user: str) -> None:
        [group_id] = [i for i, one in self._organisation.groups.items() if one["name"] == group]
        [user_id] = [i for i, one in self._organisation.users.items() if one["username"] == user]
        self._organisation.members[group_id][user_id] = None


PLACES: dict[str, Callable[[Any, str], Elsewhere]] = {
    "ldap": InLdap,
    "irods": InZone,
    "jumpcloud": InOrganisation,
}
