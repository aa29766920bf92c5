"""What the fake keeps: users with their keys, user groups with their members, of one organisation."""

import itertools
import re
import secrets
import threading
import time
import uuid
from typing import Any

from tests.fake_jumpcloud.query import Refusal

Json = dict[str, Any]

_TEXTS = (
    "username email firstname middlename lastname displayname alternateEmail external_dn company costCenter "
    "department employeeIdentifier employeeType jobTitle manager location"
).split()
_WRITABLE = {*_TEXTS, "password", "password_never_expires", "state", "suspended", "attributes"}
_WRITABLE |= {"phoneNumbers", "addresses", "externally_managed"}
_UNIQUE = ("username", "email", "employeeIdentifier")
_LIMITS = {"employeeIdentifier": 256}
_COUNTER = itertools.count(1)
_MAKER = secrets.token_hex(5)


def new_id() -> str:
    """Return an id as MongoDB makes them."""
    return f"{int(time.time()):08x}{_MAKER}{next(_COUNTER):06x}"


class Organisation:
    """Checks and keeps. Settings: what new users are, how late memberships show, what is unique.

    `id_search` and `id_list` say what becomes of a search for ids, and of a list filtered by ids: as
    asked, or `refused`, `nothing`, `everybody`, `first` and `total` for what is not as it should be.
    `is_otherwise` does what is known of the API in other ways that it leaves open.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.default_state = "STAGED"
        self.lag_s = 0.0
        self.shows_keys = False
        self.lower_case = False
        self.duplicate_status = 409
        self.read_only = False
        self.id_search = self.id_list = ""
        self.is_otherwise = False
        self.clear()

    def clear(self) -> None:
        """Delete everything."""
        self.users: dict[str, Json] = {}
        self.passwords: dict[str, str] = {}
        self.keys: dict[str, list[Json]] = {}
        self.groups: dict[str, Json] = {}
        self.members: dict[str, dict[str, None]] = {}
        # When, group, user, whether joined: what reading does not show yet.
        self._late: list[tuple[float, str, str, bool]] = []

    # -- users

    def create_user(self, body: Json) -> Json:
        for name in ("username", "email"):
            if not body.get(name):
                raise Refusal(400, f"{name} is required")
        self._check(body)
        user: Json = {"_id": self._new_id(), **{name: "" for name in _TEXTS}, "attributes": []}
        user |= {"phoneNumbers": [], "addresses": [], "externally_managed": False}
        user |= {"state": self.default_state, "suspended": False, "account_locked": False, "activated": False}
        user["id"] = user["_id"]
        self._refuse_duplicates(body, user["_id"])
        self.users[user["_id"]] = user
        self.keys[user["_id"]] = []
        self._write(user, body)
        return self.shown(user["_id"])

    def update_user(self, user_id: str, body: Json) -> Json:
        user = self.user(user_id)
        if "activated" in body:
            raise Refusal(400, "activated is not writable")
        for name in ("username", "email"):
            if name in body and not body[name]:
                raise Refusal(400, f"{name} is required")
        self._check(body)
        self._refuse_duplicates(body, user_id)
        self._write(user, body)
        return self.shown(user_id)

    def delete_user(self, user_id: str) -> Json:
        user = self.user(user_id)
        del self.users[user_id]
        for members in self.members.values():
            members.pop(user_id, None)
        self._late = [change for change in self._late if change[2] != user_id]
        return user

    def user(self, user_id: str) -> Json:
        if not self.is_otherwise and not re.fullmatch("[0-9a-f]{24}", user_id):
            raise Refusal(400, f"Cast to ObjectId failed for value {user_id}")
        if user_id not in self.users:
            raise Refusal(404, "Not Found")
        return self.users[user_id]

    def shown(self, user_id: str) -> Json:
        """Return a user as the API shows it."""
        user = self.user(user_id)
        return {**user, "ssh_keys": self.keys[user_id]} if self.shows_keys else user

    def _new_id(self) -> str:
        return str(uuid.uuid4()) if self.is_otherwise else new_id()

    def _write(self, user: Json, body: Json) -> None:
        for name in body.keys() & _WRITABLE:
            if name == "password":
                self.passwords[user["_id"]] = body[name]
            else:
                user[name] = body[name]
        if self.lower_case:
            user |= {name: user[name].lower() for name in ("username", "email", "alternateEmail")}
        if "state" in body:
            user["suspended"] = body["state"] == "SUSPENDED"
        elif "suspended" in body:
            user["state"] = "SUSPENDED" if body["suspended"] else "ACTIVATED"
        user["activated"] = user["state"] == "ACTIVATED"

    @staticmethod
    def _check(body: Json) -> None:
        for name in body.keys() & set(_TEXTS):
            limit = _LIMITS.get(name, 1024)
            if not isinstance(body[name], str) or len(body[name]) > limit:
                raise Refusal(400, f"{name} is text of {limit} characters at most")
        for name in ("email", "alternateEmail"):
            if body.get(name) and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", body[name]):
                raise Refusal(400, f"{name} is no address")
        if body.get("manager") and not re.fullmatch("[0-9a-f]{24}", body["manager"]):
            raise Refusal(400, "manager is the id of a user")
        if body.get("state", "ACTIVATED") not in ("STAGED", "ACTIVATED", "SUSPENDED"):
            raise Refusal(400, "state is unknown")
        for entry in body.get("attributes", ()):
            if set(entry) != {"name", "value"} or not re.fullmatch("[A-Za-z0-9]+", entry["name"]):
                raise Refusal(400, "an attribute has a name, of letters and digits, and a value")
            if not isinstance(entry["value"], str) or len(entry["value"]) > 1024:
                raise Refusal(400, "attribute value exceeds 1024 characters")
        for entry in body.get("phoneNumbers", ()):
            if not entry.get("type") or not entry.get("number"):
                raise Refusal(400, "a phone number has a type and a number")

    def _refuse_duplicates(self, body: Json, user_id: str) -> None:
        for name in _UNIQUE:
            for other in self.users.values():
                if body.get(name) and other[name] == body[name] and other["_id"] != user_id:
                    raise Refusal(self.duplicate_status, "this value is taken")

    # -- keys

    def add_key(self, user_id: str, body: Json) -> Json:
        self.user(user_id)
        if not body.get("name") or not body.get("public_key"):
            raise Refusal(400, "name and public_key are required")
        key = {"_id": new_id(), "name": body["name"], "public_key": body["public_key"]}
        self.keys[user_id].append(key)
        return key

    def remove_key(self, user_id: str, key_id: str) -> None:
        left = [key for key in self.keys[self.user(user_id)["_id"]] if key["_id"] != key_id]
        if len(left) == len(self.keys[user_id]):
            raise Refusal(404, "Not Found")
        self.keys[user_id] = left

    # -- groups

    def create_group(self, body: Json) -> Json:
        group: Json = {"id": self._new_id(), "type": "user_group", "membershipMethod": "STATIC"}
        self._write_group(group, body)
        self.groups[group["id"]] = group
        self.members[group["id"]] = {}
        return group

    def update_group(self, group_id: str, body: Json) -> Json:
        group = self.group(group_id)
        self._write_group(group, body)
        return group

    def delete_group(self, group_id: str) -> Json:
        group = self.group(group_id)
        del self.groups[group_id], self.members[group_id]
        return group

    def group(self, group_id: str) -> Json:
        if group_id not in self.groups:
            raise Refusal(404, "Not Found")
        return self.groups[group_id]

    def _write_group(self, group: Json, body: Json) -> None:
        name = body.get("name")
        if not isinstance(name, str) or not name or len(name) > 1024:
            raise Refusal(400, "name is required")
        if any(other["name"] == name and other is not group for other in self.groups.values()):
            raise Refusal(self.duplicate_status, "this value is taken")
        # A PUT puts all of it in place.
        for field, default in (("description", ""), ("email", ""), ("attributes", {}), ("memberQuery", None)):
            group[field] = body.get(field, default)
        group["name"] = name
        group["membershipMethod"] = body.get("membershipMethod", "STATIC")

    # -- members

    def change_member(self, group_id: str, body: Json) -> None:
        group = self.group(group_id)
        if body.get("type") != "user" or body.get("op") not in ("add", "remove", "update"):
            raise Refusal(400, "op and type are required")
        if group["membershipMethod"] != "STATIC":
            raise Refusal(403, "the members of this group are dynamic")
        user_id = self.user(str(body.get("id")))["_id"]
        joined = body["op"] != "remove"
        due = time.monotonic() + self.lag_s
        self._late.append((due, group_id, user_id, joined))
        self.settle()

    def settle(self, everything: bool = False) -> None:
        """Show the changes of members that are due, or all of them."""
        now = time.monotonic()
        for change in self._late[:]:
            due, group_id, user_id, joined = change
            if due <= now or everything:
                self._late.remove(change)
                if group_id in self.members and joined:
                    self.members[group_id][user_id] = None
                elif group_id in self.members:
                    self.members[group_id].pop(user_id, None)

    def members_of(self, group_id: str) -> list[Json]:
        self.group(group_id)
        self.settle()
        return [{"to": {"type": "user", "id": user_id}} for user_id in self.members[group_id]]

    def groups_of(self, user_id: str) -> list[Json]:
        self.user(user_id)
        self.settle()
        found = [
            {"id": group_id, "type": "user_group", "compiledAttributes": {}, "paths": []}
            for group_id, members in self.members.items()
            if user_id in members
        ]
        return [{"to": link} for link in found] if self.is_otherwise else found
