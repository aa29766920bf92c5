"""A Bulk request that fails inside still says what was done (RFC 7644 section 3.7.3)."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from schema.resource_type import ResourceType
from storage.adapter import StoredResource
from storage.errors import StorageUnavailable
from tests.app.test_bulk import BULK, bulk, post, statuses
from tests.app.test_hashing import ENTERPRISE
from tests.conftest import ScimClient, error_of


@pytest.fixture
def failing(scim: ScimClient, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Exception], None]:
    """Let the storage fail for users with a name."""
    adapter = scim.app.extensions["scim.storage"]

    def fail(user_name: str, problem: Exception) -> None:
        create = adapter.create

        def failing_create(resource_type: ResourceType, resource: StoredResource) -> StoredResource:
            if resource.document.get("userName") == user_name:
                raise problem
            created: StoredResource = create(resource_type, resource)
            return created

        monkeypatch.setattr(adapter, "create", failing_create)

    return fail


def test_an_unexpected_error_is_that_of_its_operation(
    scim: ScimClient, failing: Callable[[str, Exception], None], caplog: pytest.LogCaptureFixture
) -> None:
    failing("b", ZeroDivisionError("nobody foresaw this"))
    group = post("g", "/Groups", displayName="g", members=[{"value": "bulkId:b"}])

    results = bulk(scim, post("a", userName="a"), post("b", userName="b"), post("c", userName="c"), group)

    assert statuses(results) == ["201", "500", "201", "400"]
    assert results[1]["response"]["status"] == "500"
    assert "nobody foresaw this" not in results[1]["response"]["detail"]
    assert "nobody foresaw this" in caplog.text
    assert sorted(scim.names("id pr")) == ["a", "c"]
    assert scim("GET", "/Groups").json["totalResults"] == 0


def test_an_unexpected_error_counts_as_one(
    scim: ScimClient, failing: Callable[[str, Exception], None]
) -> None:
    failing("b", RecursionError())

    results = bulk(scim, *[post(name, userName=name) for name in "abc"], failOnErrors=1)

    assert statuses(results) == ["201", "500"]
    assert scim.names("id pr") == ["a"]


@pytest.mark.sqlite
def test_what_was_done_before_the_storage_went_away_is_told(
    scim: ScimClient, failing: Callable[[str, Exception], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing("b", StorageUnavailable("the disk is gone"))
    adapter = scim.app.extensions["scim.storage"]
    create = adapter.create

    def slow_create(*arguments: Any) -> Any:
        # The next operation has a transaction of its own.
        created = create(*arguments)
        time.sleep(0.3)
        return created

    monkeypatch.setattr(adapter, "create", slow_create)

    results = bulk(scim, *[post(name, userName=name) for name in "abc"])

    assert statuses(results) == ["201", "503", "503"]
    assert [result["bulkId"] for result in results] == ["a", "b", "c"]
    assert scim.names("id pr") == ["a"]


@pytest.mark.sqlite
def test_a_storage_that_is_away_from_the_beginning_fails_the_whole(
    scim: ScimClient, failing: Callable[[str, Exception], None]
) -> None:
    failing("b", StorageUnavailable("the disk is gone"))
    operations = [post(name, userName=name) for name in "ab"]

    answer = scim("POST", "/Bulk", {"schemas": [BULK], "Operations": operations})

    error_of(answer, 503)
    assert answer.headers["Retry-After"]
    assert scim.names("id pr") == []


@pytest.mark.sqlite
def test_what_was_done_before_a_circle_could_not_be_closed_is_told(
    scim: ScimClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> Any:
        raise StorageUnavailable("the disk is gone")

    monkeypatch.setattr(scim.app.extensions["scim.storage"], "replace", fail)
    # With passwords, each has a transaction of its own: the second is made before the first refers to it.
    circle = [
        post(a, userName=a, password="t1meMa$heen", **{ENTERPRISE: {"manager": {"value": f"bulkId:{b}"}}})
        for a, b in ("ab", "ba")
    ]

    results = bulk(scim, *circle)

    assert statuses(results) == ["201", "503"]
    assert sorted(scim.names("id pr")) == ["a", "b"]
