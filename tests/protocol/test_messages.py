"""Messages are read as their schemas describe them (RFC 7644 sections 3.4.3, 3.5.2, 3.7)."""

from typing import Any

import pytest

from app.protocol.bulk_message import read_bulk_request
from app.protocol.errors import Refusal
from app.protocol.patch import PatchOperation, read_operations
from app.protocol.profiles import Profile, profile_of
from app.protocol.search_message import read_search_request
from schema import urns
from schema.errors import InvalidSyntax, InvalidValue

NAMES = ("default", "strict")
BOTH = pytest.mark.parametrize("profile", [profile_of(name) for name in NAMES], ids=NAMES)


@BOTH
def test_names_have_any_case_and_of_two_the_last_counts(profile: Profile) -> None:
    operation = {"OP": "remove", "op": "add", "Path": "title", "value": 1, "VALUE": 2}
    patch = {"SCHEMAS": [urns.PATCH_OP], "Operations": [], "operations": [operation]}
    bulk: dict[str, Any] = {"Schemas": [urns.BULK_REQUEST], "failonerrors": 1, "FailOnErrors": 2}
    bulk["OPERATIONS"] = [{"BULKID": "b"}]
    search = {"schemas": [urns.SEARCH_REQUEST], "FILTER": "id pr", "sortby": "id", "SortBy": "title"}

    assert read_operations(patch, profile) == [PatchOperation("add", "title", 2)]
    read = read_bulk_request(bulk, 1, profile)
    assert (read.operations, read.fail_on_errors) == (({"bulkId": "b"},), 2)
    query = read_search_request(search, profile)
    assert (query.filter, query.sort_by) == ("id pr", "title")


@BOTH
def test_an_attribute_that_is_null_is_absent(profile: Profile) -> None:
    bulk = {"schemas": [urns.BULK_REQUEST], "failOnErrors": None, "Operations": []}
    search = {"schemas": [urns.SEARCH_REQUEST], "attributes": None, "startIndex": None, "cursor": None}

    assert read_bulk_request(bulk, 1, profile).fail_on_errors is None
    query = read_search_request(search, profile)
    assert (query.attributes, query.start_index, query.cursor) == ((), 1, None)
    with pytest.raises(InvalidSyntax, match="^Operations: must be a list of operations$"):
        read_bulk_request({**bulk, "Operations": None}, 1, profile)


@BOTH
@pytest.mark.parametrize("limit", [-1, "1", 1.5, True, [], {}])
def test_fail_on_errors_is_a_number(profile: Profile, limit: Any) -> None:
    body = {"schemas": [urns.BULK_REQUEST], "failOnErrors": limit, "Operations": []}

    with pytest.raises(InvalidValue, match="^failOnErrors: must be an integer, 0 or more$"):
        read_bulk_request(body, 1, profile)


def test_operations_beyond_the_limit_are_not_read() -> None:
    body = {"schemas": [urns.BULK_REQUEST], "Operations": [7, 7]}

    with pytest.raises(Refusal, match=r"^Operations: more than maxOperations \(1\)$"):
        read_bulk_request(body, 1, profile_of("strict"))
    with pytest.raises(InvalidSyntax, match=r"^Operations\[0\]: must be an object$"):
        read_bulk_request(body, 2, profile_of("strict"))


@BOTH
def test_reading_ends_at_the_first_fault(profile: Profile) -> None:
    unread: Any = object()
    faulty = {"schemas": [urns.PATCH_OP], "Operations": [{"op": "move", "path": "title"}, unread]}

    with pytest.raises(InvalidSyntax, match=r"^Operations\[0\]\.op: must be one of add, remove, replace$"):
        read_operations(faulty, profile)
