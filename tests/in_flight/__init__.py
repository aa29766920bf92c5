"""What processes of release 0.1.0 (commit 8a276f1) left when they were killed, for tests of the upgrade.

Each process did one of these steps, with the settings of the tests, and was killed at its end:

1. A client created ann, bob, cleo, gus, oscar and the group Crew (ann), and hugo asynchronously
   (`finished`). The receiver accepted the SET of ann and answered the next one with 503. A reader polled
   two SETs of the feed and acknowledged one. A client got the first page of users and its next cursor.
2. A client created the group Team (ann, bob, cleo, hugo). The dispatcher, limited to two SETs in a
   transaction, was killed behind the first of two transactions.
3. A client changed ann twice and bob once, created dora, and deleted gus. No dispatcher took this.
4. Clients sent asynchronous requests: the first one PATCH of bob, PATCH of cleo and POST of lena; the other
   one a Bulk request (jack, kate and the group Band of both) and PATCH of hugo; the first one PATCH of dora
   and POST of ivan.
5. Four workers took the first four requests. The worker of bob was killed before the write, those of
   cleo and lena after it and before its confirmation, that of the Bulk request after the first operation
   and, before its confirmation, the write of the second. Where events and resources share a
   transaction, the death of a process undoes its unconfirmed write.
6. Only where they do not: six processes were killed over one write each. The PATCH of dora, the POST of
   mia, the DELETE of oscar and dora's joining of Crew took effect and were not confirmed; the PATCH of
   hugo and the POST of nora were not sent.

The files are named by database. The file `state` has a state database on SQLite, which was written beside
flat files, and the resources at that moment: `restored` creates them in any other backend.
"""

import base64
import hashlib
import hmac
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
from cryptography.fernet import Fernet

from schema.registry import load_registry
from storage.adapter import Member, StorageAdapter, StoredResource

FOLDER = Path(__file__).parent
# Columns that can hold ids of resources, by table.
_COLUMNS = {
    "scim_outbox": ("body",),
    "scim_set": ("event", "feeds"),
    "scim_stream": ("feed",),
    "scim_job": ("target", "request", "state", "result"),
}


@dataclass
class Left:
    """What the processes left: a store, and what their clients know of it.

    `ids` and `versions` are those of resources, by name; `jobs` are transactions of asynchronous
    requests, by the name of the resource. `statements` make the database.
    """

    api_keys: tuple[str, ...]
    ids: dict[str, str]
    jobs: Mapping[str, str]
    cursor: str
    acknowledged: str
    unacknowledged: str
    statements: list[str]
    resources: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)


def read(name: str) -> Left:
    """Return what processes left in the database `name`."""
    kept = json.loads((FOLDER / f"{name}-8a276f1.json").read_text())
    return Left(api_keys=tuple(kept.pop("api_key").split(",")), **kept)


# -- the resources of one backend in another one


def restored(left: Left, adapter: StorageAdapter, state: Path) -> None:
    """Create the resources in the storage of `adapter`, and the state database in the file `state`.

    Backends choose versions, and some choose ids: the state is changed to those, as if the processes had
    served this backend. The id of a resource whose creation was not confirmed stays: the processes
    could not know the id that the backend chose.
    """
    with closing(sqlite3.connect(state, isolation_level=None)) as database:
        for statement in left.statements:
            database.execute(statement)
        bodies = database.execute("SELECT body FROM scim_outbox WHERE due_at > 0 ORDER BY seq")
        plans = {plan["id"]: plan for plan in (orjson.loads(body)["plan"] for (body,) in bodies)}
        names: dict[str, str] = {}
        for one in left.resources:
            plan = plans.get(one["id"], {})
            stored, version = _restored(adapter, one, plan, names)
            left.versions[_name(one)] = stored.version
            if plan.get("kind") != "create":
                names[one["id"]] = stored.id
            if plan.get("version"):
                names[plan["version"]] = version
        _rename(database, names, left.api_keys)
    left.ids = {name: names.get(resource_id, resource_id) for name, resource_id in left.ids.items()}


def _restored(
    adapter: StorageAdapter, one: Mapping[str, Any], plan: Mapping[str, Any], names: Mapping[str, str]
) -> tuple[StoredResource, str]:
    """Return a resource as it is kept, and its version before the write of `plan`."""
    resource_type = load_registry().resource_type(one["type"])
    assert resource_type is not None
    is_changed = bool(plan.get("version")) and plan["version"] != one["version"]
    joined = [Member(names[value], *more) for value, *more in plan.get("joined", ()) if is_changed]
    members = [Member(names[value], "User") for value in one["members"]]
    first = [member for member in members if member.key not in {new.key for new in joined}]
    text = plan["text"] if is_changed else one["text"]
    with adapter.transaction():
        created = adapter.create(
            resource_type,
            StoredResource(one["id"], text, created=one["created"], last_modified=one["modified"]),
        )
        if first:
            adapter.change_members(resource_type, created, first, ())
    stored = adapter.get(resource_type, created.id)
    version = stored.version
    if not is_changed:
        return stored, version
    with adapter.transaction():
        if joined:
            adapter.change_members(resource_type, stored, joined, ())
        if not joined or not adapter.capabilities.versions_members:
            after = replace(stored, text=one["text"].replace(one["id"], stored.id))
            adapter.replace(resource_type, after, version)
    return adapter.get(resource_type, created.id), version


def _name(one: Mapping[str, Any]) -> str:
    document = json.loads(one["text"])
    return str(document.get("userName") or document["displayName"])


def _rename(database: sqlite3.Connection, names: Mapping[str, str], api_keys: tuple[str, ...]) -> None:
    # The first API key encrypts requests.
    digest = hashlib.sha256(b"scim job\0" + api_keys[0].encode()).digest()
    cipher = Fernet(base64.urlsafe_b64encode(digest))

    def renamed(cell: str | None) -> str | None:
        if cell is not None and cell.startswith("gAAAA"):
            return cipher.encrypt((renamed(cipher.decrypt(cell).decode()) or "").encode()).decode()
        for old, new in names.items():
            cell = cell.replace(old, new) if cell is not None else None
        return cell

    for table, columns in _COLUMNS.items():
        assignments = ", ".join(f"{column} = ?" for column in columns)
        rows = database.execute(f"SELECT rowid, {', '.join(columns)} FROM {table}").fetchall()
        for number, *cells in rows:
            database.execute(
                f"UPDATE {table} SET {assignments} WHERE rowid = ?", (*map(renamed, cells), number)
            )


def number_as_before(place: str) -> int:
    """Return the number that commit 8a276f1 had for a place: into it went ids of JumpCloud, and on other
    remote services the index in the answer and the time of creation."""
    if len(place) == 16:
        return int(place, 16)
    if len(place) == 24:
        return int.from_bytes(place.encode().ljust(64, b"\0"))
    return int(place[19:], 16) << 40 | int(place[:11], 16)


def signed_as_before(cursor: str, api_keys: tuple[str, ...]) -> str:
    """Return a cursor over all users as commit 8a276f1 made it for the first client.

    A position is a matter of the backend: `cursor` is one that the server made for the same page.
    """
    made = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[16:])
    place, sort_key, *_ = made[2]
    made[2] = [f"{number_as_before(place):x}", sort_key]
    content = orjson.dumps(made)
    principal = f"api-key {hashlib.sha256(api_keys[0].encode()).hexdigest()[:8]}"
    # API_KEY counts as one key too, which may have commas.
    known = sorted((*api_keys, ",".join(api_keys)))
    key = hashlib.sha256("\0".join(("cursor 2", *known)).encode()).digest()
    bound = orjson.dumps([principal, ("User", None, None, False)]) + content
    signed = hmac.new(key, bound, hashlib.sha256).digest()[:16] + content
    return base64.urlsafe_b64encode(signed).decode().rstrip("=")
