"""How SQLite finds a resource: by an index over what is asked for, never through all of its type."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from storage.index.database import Database
from tests.conftest import ScimClient
from tests.events import PATCH_OP, POLL

pytestmark = pytest.mark.sqlite


def patch(**operation: Any) -> dict[str, Any]:
    return {"schemas": [PATCH_OP], "Operations": [operation]}


def test_no_request_for_one_resource_looks_through_its_type(
    make_scim: Callable[..., ScimClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    scim = make_scim(**POLL)
    user, group = scim.user("ann")["id"], scim.group("team")["id"]
    ran: list[tuple[Database, str, Any]] = []
    execute = Database._execute

    def noted(database: Database, statement: str, params: Any) -> Any:
        ran.append((database, statement, params))
        return execute(database, statement, params)

    monkeypatch.setattr(Database, "_execute", noted)
    scim("GET", f"/Users/{user}")
    for text in (f'id eq "{user}"', f'id eq "{user}" or userName eq "x"', f'groups.value eq "{group}"'):
        scim("GET", f"/Users?filter={quote(text)}")
    scim("PATCH", f"/Users/{user}", patch(op="replace", path="title", value="T"))
    scim("PATCH", f"/Groups/{group}", patch(op="add", path="members", value=[{"value": user}]))
    scim("PATCH", f"/Groups/{group}", patch(op="remove", path=f'members[value eq "{user}"]'))
    scim("PUT", f"/Users/{user}", {"userName": "bob"})
    scim("DELETE", f"/Users/{user}")
    monkeypatch.undo()

    begun = ("SELECT", "UPDATE", "DELETE", "INSERT", "WITH")
    statements = [one for one in ran if one[1].startswith(begun)]
    assert len(statements) > 40
    for database, statement, params in statements:
        for *_, step in database.rows(f"EXPLAIN QUERY PLAN {statement}", params):
            assert "scim_resource_type (type=?)" not in step and "SCAN r" not in step, statement
