"""A stored resource as clients see it (RFC 7643 section 3.1)."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from app.protocol.representation import CHUNK, LARGE, Representation, quoted
from schema import urns
from schema.projection import make_projection
from schema.registry import Registry
from storage.adapter import Member, Membership, StorageAdapter
from tests.protocol.samples import BABS, DEVICE, GROUP, PRINTER, REGISTRY, USER, storage_of, stored

PREFIX = "https://scim.example.com/v2"
ANN = stored({"schemas": [urns.USER], "id": "1", "userName": "ann", "displayName": "Ann"}, "1")
IN_INNER = [{"value": "1", "type": "User"}]
INNER = stored({"schemas": [urns.GROUP], "id": "2", "displayName": "Inner", "members": IN_INNER}, "2")
OUTER = stored(
    {
        "schemas": [urns.GROUP],
        "id": "3",
        "displayName": "Outer",
        "members": [{"value": "2", "type": "Group"}, {"value": "1", "type": "User", "display": "A"}],
    },
    "3",
)
META = {"created": "2020-01-01T00:00:00.000Z", "lastModified": "2020-02-02T00:00:00.000Z"}
SHOWN_INNER = {"value": "2", "$ref": f"{PREFIX}/Groups/2", "type": "Group", "display": "Inner"}
SHOWN_ANN = {"value": "1", "$ref": f"{PREFIX}/Users/1", "type": "User", "display": "A"}


@pytest.fixture(scope="module")
def storage() -> StorageAdapter:
    return storage_of((USER, ANN), (GROUP, INNER), (GROUP, OUTER))


@pytest.fixture(scope="module")
def representation(storage: StorageAdapter) -> Representation:
    return Representation(REGISTRY, storage, PREFIX)


def shown(
    representation: Representation,
    storage: StorageAdapter,
    resource_type: Any,
    resource_id: str,
    attributes: Sequence[str] = (),
    excluded: Sequence[str] = (),
) -> dict[str, Any]:
    projection = make_projection(resource_type, attributes, excluded)
    text = representation.chunks(resource_type, storage.get(resource_type, resource_id), projection)
    assert isinstance(text, str)
    document: dict[str, Any] = orjson.loads(text)
    return document


@pytest.mark.parametrize(
    ("resource_id", "text"),
    [
        ("2819c223-7f76", "2819c223-7f76"),
        ("babs@example.com", "babs@example.com"),
        ("urn:x:1", "urn:x:1"),
        ("a b/c", "a%20b%2Fc"),
        ('"<>', "%22%3C%3E"),
        ("é", "%C3%A9"),
        ("50%", "50%25"),
        ("a\n", "a%0A"),
    ],
)
def test_an_id_stands_in_a_url_as_it_is_or_escaped(resource_id: str, text: str) -> None:
    assert quoted(resource_id) == text


@pytest.mark.parametrize(
    ("prefix", "location"),
    [
        ("", "/Users/a%20b"),
        ("/scim/v2", "/scim/v2/Users/a%20b"),
        ("https://scim.example.com/v2", "https://scim.example.com/v2/Users/a%20b"),
    ],
)
def test_a_location_is_of_the_style_of_the_prefix(
    storage: StorageAdapter, prefix: str, location: str
) -> None:
    representation = Representation(REGISTRY, storage, prefix)

    assert representation.location("User", "a b") == location
    (text,) = representation.texts(USER, [stored(BABS, "a b", joined=False)], make_projection(USER, (), ()))
    assert isinstance(text, str) and orjson.loads(text)["meta"]["location"] == location


def test_meta_is_appended_to_what_is_kept(representation: Representation) -> None:
    kept = stored(BABS, "7", version="v1", joined=False)

    document = representation.document(USER, kept, links=True)

    meta = {"resourceType": "User", **META, "location": f"{PREFIX}/Users/7", "version": 'W/"v1"'}
    assert document == {**BABS, "meta": meta}
    (text,) = representation.texts(USER, [kept], make_projection(USER, (), ()))
    assert isinstance(text, str) and text.startswith(kept.text[:-1]) and orjson.loads(text) == document


def test_members_are_shown_with_what_they_are(
    representation: Representation, storage: StorageAdapter
) -> None:
    assert shown(representation, storage, GROUP, "3")["members"] == [SHOWN_INNER, SHOWN_ANN]
    assert representation.member(Member("x y", "User")) == {
        "value": "x y",
        "$ref": f"{PREFIX}/Users/x%20y",
        "type": "User",
    }


def test_memberships_are_shown_direct_or_not(representation: Representation, storage: StorageAdapter) -> None:
    groups = shown(representation, storage, USER, "1")["groups"]

    assert {group["value"]: group for group in groups} == {
        "2": {**SHOWN_INNER, "type": "direct"},
        "3": {"value": "3", "$ref": f"{PREFIX}/Groups/3", "type": "direct", "display": "Outer"},
    }


def test_memberships_that_were_read_along_are_not_asked_for_again(storage: StorageAdapter) -> None:
    class Unasked(type(storage)):  # type: ignore[misc]
        def memberships(self, *args: Any) -> Any:
            raise AssertionError("nobody need ask")

    representation = Representation(REGISTRY, Unasked(storage, REGISTRY.resource_types), "")
    kept = [
        stored(BABS, "1", memberships=[Membership("9", "Group", None, False)]),
        stored(BABS, "2", joined=False),
        stored(BABS, "3", memberships=[]),
    ]

    documents = [representation.document(USER, one, links=True) for one in kept]
    texts = representation.texts(USER, kept, make_projection(USER, (), ()))

    assert [orjson.loads(str(text)) for text in texts] == documents
    assert documents[0]["groups"] == [{"value": "9", "$ref": "/Groups/9", "type": "indirect"}]
    assert "groups" not in documents[1] and "groups" not in documents[2]


def test_a_document_without_links_has_neither_members_nor_memberships(
    representation: Representation, storage: StorageAdapter
) -> None:
    assert "members" not in representation.document(GROUP, storage.get(GROUP, "3"), links=False)
    assert "groups" not in representation.document(USER, ANN, links=False)
    assert representation.document(GROUP, storage.get(GROUP, "3"), links=True)["members"][1] == SHOWN_ANN
    assert len(representation.document(USER, ANN, links=True)["groups"]) == 2


@pytest.mark.parametrize(
    ("attributes", "excluded", "names"),
    [
        ([], [], ["schemas", "id", "displayName", "members", "meta"]),
        (["displayName"], [], ["schemas", "id", "displayName"]),
        (["members"], [], ["schemas", "id", "members"]),
        (["members.value"], [], ["schemas", "id", "members"]),
        (["meta.location"], [], ["schemas", "id", "meta"]),
        ([], ["members"], ["schemas", "id", "displayName", "meta"]),
        ([], ["meta", "displayName"], ["schemas", "id", "members"]),
        ([], ["id"], ["schemas", "id", "displayName", "members", "meta"]),
    ],
)
def test_a_projection_chooses_what_is_shown(
    representation: Representation,
    storage: StorageAdapter,
    attributes: list[str],
    excluded: list[str],
    names: list[str],
) -> None:
    document = shown(representation, storage, GROUP, "3", attributes, excluded)

    assert sorted(document) == sorted(names)


def test_a_projection_chooses_parts_of_members(
    representation: Representation, storage: StorageAdapter
) -> None:
    document = shown(representation, storage, GROUP, "3", ["members.value"])
    assert document["members"] == [{"value": "2"}, {"value": "1"}]

    document = shown(representation, storage, GROUP, "3", (), ["members.$ref", "members.type"])
    assert document["members"] == [{"value": "2", "display": "Inner"}, {"value": "1", "display": "A"}]


def test_what_is_returned_on_request_only_is_not_shown_unasked(storage: StorageAdapter) -> None:
    representation = Representation(Registry((DEVICE,)), storage, "")
    printer = stored({**PRINTER, "remark": "on request"}, "7")

    def found(*attributes: str) -> dict[str, Any]:
        text = representation.chunks(DEVICE, printer, make_projection(DEVICE, attributes, ()))
        document: dict[str, Any] = orjson.loads(str(text))
        return document

    assert "remark" not in found() and found()["serial"] == "S1"
    assert found("remark")["remark"] == "on request"


def test_resources_keep_their_order(representation: Representation, storage: StorageAdapter) -> None:
    kept = [storage.get(GROUP, "3"), storage.get(GROUP, "2"), storage.get(GROUP, "3")]

    texts = representation.texts(GROUP, kept, make_projection(GROUP, (), ()))

    assert [orjson.loads(str(text))["displayName"] for text in texts] == ["Outer", "Inner", "Outer"]


@pytest.mark.parametrize("count", [0, CHUNK, CHUNK + 1, 2 * CHUNK + 2])
@pytest.mark.parametrize("attributes", [(), ("members.value",)], ids=["whole", "projected"])
def test_very_many_members_come_in_chunks(count: int, attributes: tuple[str, ...]) -> None:
    users = [(USER, stored({"schemas": [urns.USER], "userName": f"u{n}"}, f"u{n}")) for n in range(count)]
    members = [{"value": resource.id, "type": "User"} for _, resource in users]
    storage = storage_of_many(users, members)
    representation = Representation(REGISTRY, storage, "")
    group = storage.get(GROUP, "g")

    text = representation.chunks(GROUP, group, make_projection(GROUP, attributes, ()))

    chunks = [text.encode()] if isinstance(text, str) else list(text)
    assert (len(chunks) > 1) is (count > CHUNK)
    document = orjson.loads(b"".join(chunks))
    assert [member["value"] for member in document.get("members", ())] == [one["value"] for one in members]
    assert representation.is_large(GROUP, group) is (count > LARGE)
    if not attributes:
        assert representation.document(GROUP, group, links=True) == document


@pytest.mark.parametrize("count", [LARGE, LARGE + 1])
def test_a_group_is_large_beyond_a_number_of_members(count: int) -> None:
    users = [(USER, stored({"schemas": [urns.USER], "userName": f"u{n}"}, f"u{n}")) for n in range(count)]
    storage = storage_of_many(users, [{"value": resource.id, "type": "User"} for _, resource in users])

    representation = Representation(REGISTRY, storage, "")
    assert representation.is_large(GROUP, storage.get(GROUP, "g")) is (count > LARGE)
    assert representation.is_large(USER, storage.get(USER, "u1")) is False


def storage_of_many(users: list[Any], members: list[dict[str, str]]) -> StorageAdapter:
    """Return a storage with users, and the group "g" of them."""
    group = {"schemas": [urns.GROUP], "displayName": "g", "members": members}
    return storage_of(*users, (GROUP, stored(group, "g")))
