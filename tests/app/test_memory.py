"""Memory that requests with very many members take: bytes are counted, whoever else is at work."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import GROUP, USER, ScimClient

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
MEMBERS = 20_000
# Of a request with so many members; each took 4,600 bytes when all texts of them were in memory together.
MOST_BYTES = 1_500 * MEMBERS

pytestmark = pytest.mark.sqlite


@pytest.fixture
def scim(make_scim: Callable[..., ScimClient]) -> ScimClient:
    large = str(64 << 20)
    return make_scim(MAX_BODY_SIZE=large, BULK_MAX_PAYLOAD_SIZE=large, BULK_MAX_OPERATIONS="20000")


@pytest.fixture
def members(scim: ScimClient) -> list[dict[str, str]]:
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": name, "data": {"schemas": [USER], "userName": name}}
        for name in map(str, range(MEMBERS))
    ]
    answer = scim("POST", "/Bulk", {"schemas": [BULK], "Operations": operations})
    ids = [result["location"].rpartition("/")[2] for result in answer.json["Operations"]]
    return [{"value": one} for one in ids]


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    """Count from now on; yield a function that returns the largest number of bytes since it was called."""
    gc.collect()
    tracemalloc.start()

    def since() -> int:
        most = tracemalloc.get_traced_memory()[1]
        gc.collect()
        tracemalloc.reset_peak()
        return most

    yield since
    tracemalloc.stop()


def patch(op: str, value: Any) -> dict[str, Any]:
    return {"schemas": [PATCH], "Operations": [{"op": op, "path": "members", "value": value}]}


def test_no_request_takes_much_memory_for_each_member(
    scim: ScimClient, members: list[dict[str, str]], peak: Callable[[], int]
) -> None:
    half, bytes_by_request = members[: MEMBERS // 2], {}

    def ask(name: str, method: str, path: str, body: Any) -> Any:
        peak()
        answer = scim(method, path, body)
        bytes_by_request[name] = peak()
        assert answer.status_code in (200, 201, 204), answer.text[:1000]
        return answer

    def group(*members: dict[str, str]) -> dict[str, Any]:
        return {"schemas": [GROUP], "displayName": "g", "members": members}

    path = ask("POST", "POST", "/Groups", group(*members)).headers["Location"]
    ask("PUT of the same", "PUT", path, group(*members))
    ask("PUT of half", "PUT", path, group(*half))
    ask("PATCH, add", "PATCH", path, patch("add", members))
    ask("PATCH, replace", "PATCH", path, patch("replace", half))
    ask("PATCH, remove", "PATCH", path, patch("remove", half))

    assert {name: count for name, count in bytes_by_request.items() if count > MOST_BYTES} == {}
