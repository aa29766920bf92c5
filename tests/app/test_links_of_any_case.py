"""Links defined without caseExact, as RFC 7643 section 8.7.1 has them: ids differ in case all the same."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ScimClient

FOLDER = Path(__file__).parents[2] / "schema"


@pytest.fixture
def definitions(tmp_path: Path) -> str:
    definitions = tmp_path / "definitions"
    for name in ("core", "extensions"):
        shutil.copytree(FOLDER / name, definitions / name)
    for name, link in (("Group", "members"), ("User", "groups")):
        path = definitions / "core" / f"{name}.json"
        schema: dict[str, Any] = json.loads(path.read_text())
        for attribute in schema["attributes"]:
            for sub in attribute.get("subAttributes", ()) if attribute["name"] == link else ():
                sub["caseExact"] = False
        path.write_text(json.dumps(schema))
    return str(definitions)


@pytest.fixture
def scim(make_scim: Callable[..., ScimClient], definitions: str) -> ScimClient:
    return make_scim(SCHEMA_PATH=definitions)


@pytest.mark.on("sqlite", "files", "postgresql", "mariadb", "mongodb", "ldap")
def test_ids_of_mixed_case_are_found(make_scim: Callable[..., ScimClient], definitions: str) -> None:
    mappings = {"USER_MAPPING": '{"id": "userName"}', "GROUP_MAPPING": '{"id": "displayName"}'}
    scim = make_scim(SCHEMA_PATH=definitions, **mappings)
    scim.user("HKodden")
    scim.group("Staff", "HKodden")

    for spelling in ("HKodden", "hkodden", "HKODDEN"):
        assert scim.names(f'members.value eq "{spelling}"', "/Groups", "id") == ["Staff"]
    for spelling in ("Staff", "staff", "STAFF"):
        assert scim.names(f'groups.value eq "{spelling}"') == ["HKodden"]


@pytest.mark.parametrize("spelling", [str, str.upper, str.lower])
def test_filters_find_links_in_any_case(scim: ScimClient, spelling: Callable[[str], str]) -> None:
    one, other = scim.user("HKodden"), scim.user("other")
    group = scim.group("Staff", one["id"])
    scim.group("Others", other["id"])
    member_id, group_id = spelling(one["id"]), spelling(group["id"])

    for text in (f'members.value eq "{member_id}"', f'members eq "{member_id}"'):
        assert scim.names(text, "/Groups", "displayName") == ["Staff"]
    assert scim.names(f'members[value eq "{member_id}"] and displayName pr', "/Groups", "id") == [group["id"]]
    assert scim.names(f'not (members.value eq "{member_id}")', "/Groups", "displayName") == ["Others"]
    assert scim.names(f'groups.value eq "{group_id}"') == ["HKodden"]
    assert scim.names(f'groups[value eq "{group_id}"] or userName eq "nobody"') == ["HKodden"]
    assert scim.names(f'groups.value ne "{group_id}"') == ["other"]


def test_a_path_selects_members_in_any_case(scim: ScimClient) -> None:
    one, other = scim.user("HKodden"), scim.user("other")
    group = scim.group("Staff", one["id"], other["id"])
    path = f'members[value eq "{one["id"].upper()}"]'
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "remove", "path": path}],
    }

    assert scim("PATCH", f"/Groups/{group['id']}", body).status_code in (200, 204)

    shown = scim("GET", f"/Groups/{group['id']}").json
    assert [member["value"] for member in shown["members"]] == [other["id"]]
