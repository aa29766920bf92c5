"""The public conformance checker and client library for SCIM, over a real socket.

https://pypi.org/project/scim2-tester, https://pypi.org/project/scim2-client
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_models import PatchOp, PatchOperation, SCIMException, SearchRequest
from scim2_tester import Status, check_server

from schema.registry import DEFINITIONS
from tests.conftest import KEY, Server


@contextmanager
def client_of(server: Server) -> Iterator[SyncSCIMClient]:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx2.Client(base_url=server.url, headers=headers, timeout=30) as client:
        yield SyncSCIMClient(client)


@pytest.fixture
def rfc_schemas(tmp_path: Path) -> Path:
    """The schemas of RFC 7643 alone: User, Group and EnterpriseUser."""
    folder = tmp_path / "schemas"
    shutil.copytree(DEFINITIONS / "core", folder / "core")
    (folder / "extensions" / "User").mkdir(parents=True)
    shutil.copy(DEFINITIONS / "extensions" / "User" / "EnterpriseUser.json", folder / "extensions" / "User")
    return folder


@pytest.mark.full("files", "postgresql", "mariadb", "mongodb", "irods", "lines")
@pytest.mark.parametrize("profile", ["default", "strict"])
def test_the_checker_finds_no_error_in_the_schemas_of_the_rfc(
    serve: Callable[..., Server], rfc_schemas: Path, profile: str
) -> None:
    server = serve(SCHEMA_PATH=str(rfc_schemas), PROFILE=profile, LOGLEVEL="ERROR")

    with client_of(server) as scim:
        results = check_server(scim)

    assert [f"{r.title}: {r.reason}" for r in results if r.status != Status.SUCCESS] == []
    assert len(results) >= 130


# Those that keep documents as they are have nothing to do with the schemas in them.
@pytest.mark.on("sqlite", "mongodb", "ldap", "irods")
@pytest.mark.full("mongodb", "ldap")
def test_with_all_schemas_the_checker_objects_only_to_adding(serve: Callable[..., Server]) -> None:
    """It adds a whole extension and then each attribute of it, and expects that `add` replaces.

    RFC 7644 section 3.5.2.1: `add` to a multi-valued attribute appends. And what is never
    returned cannot be compared within an extension.
    """
    with client_of(serve(LOGLEVEL="ERROR")) as scim:
        results = check_server(scim)

    for result in results:
        if result.status == Status.SUCCESS:
            continue
        assert "returned unexpected value" in str(result.reason)
        expected, actual = result.data["expected"], result.data["modify_actual"]
        if isinstance(expected, list):
            assert actual[-len(expected) :] == expected and len(actual) > len(expected)
        else:
            assert result.data["urn"] == "urn:temporaryNamespace:scim:schemas:voPerson:User"
    assert sum(result.status == Status.SUCCESS for result in results) >= 195


def test_a_foreign_client_discovers_creates_queries_modifies_and_deletes(
    serve: Callable[..., Server],
) -> None:
    with client_of(serve(LOGLEVEL="ERROR")) as scim:
        scim.discover()
        converse(scim)


def converse(scim: SyncSCIMClient) -> None:
    user_model: Any = scim.get_resource_model("User")
    group_model: Any = scim.get_resource_model("Group")

    user = scim.create(user_model(user_name="bjensen", display_name="Babs", password="t1meMa$heen"))
    group = scim.create(group_model(display_name="Tour", members=[{"value": user.id}]))
    found = scim.query(user_model, query_parameters=SearchRequest(filter='userName eq "BJENSEN"'))
    operation = PatchOperation(op=PatchOperation.Op.replace_, path="displayName", value="B")
    modified = scim.modify(user_model, user.id, PatchOp[user_model](operations=[operation]))
    with pytest.raises(SCIMException, match="version"):
        # The library sends If-Match with the version it knows, which is stale by now.
        scim.replace(user)
    modified.display_name = "C"
    replaced = scim.replace(modified)
    job = scim.bulk(
        {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
            "Operations": [
                {"method": "POST", "path": "/Users", "bulkId": "1", "data": {"userName": "bulk"}},
                {"method": "DELETE", "path": f"/Users/{user.id}"},
            ],
        },
        check_request_payload=False,
    )

    assert group.members[0].display == "Babs"
    assert found.total_results == 1 and found.resources[0].groups[0].value == group.id
    assert replaced.display_name == "C"
    assert [operation.status for operation in job.operations] == [201, 204]
    assert scim.query(group_model, group.id).members is None
    with pytest.raises(SCIMException):
        scim.query(user_model, user.id)
