"""What PATCH makes of attributes with the characteristics that a schema can give them."""

from typing import Any

import pytest

from tests.protocol.samples import (
    BABS,
    BOTH,
    CORE,
    DEFAULT,
    DEVICE,
    ENTERPRISE,
    PRINTER,
    SRAM,
    add,
    patched,
    remove,
    replace,
    with_changes,
)

PORTS = PRINTER["ports"]


def expected(operations: list[dict[str, Any]], changes: dict[str, Any], name: str) -> Any:
    return pytest.param(operations, changes, id=name)


@pytest.mark.parametrize(
    ("operations", "changes"),
    [
        expected([add("tags", ["c", "a"])], {"tags": ["a", "b", "c"]}, "simple values are added once"),
        expected([replace("tags", "c")], {"tags": ["c"]}, "simple values are replaced"),
        expected([remove("tags", ["A"])], {"tags": ["b"]}, "a simple value is removed by its value"),
        expected([add("marks", ["m"])], {}, "an immutable value may be said again"),
        expected([replace("place.building", "B")], {}, "an immutable part may be said again"),
        expected([add("model", "M")], {"model": "M"}, "an immutable attribute gets its first value"),
        expected(
            [add("ports", [{"value": "p3"}])],
            {"ports": [*PORTS, {"value": "p3"}]},
            "a value with an immutable part",
        ),
        expected(
            [remove('ports[value eq "p1"]')], {"ports": PORTS[1:]}, "a value with an immutable part goes"
        ),
        expected(
            [replace("place", {"building": "B", "room": "2"})],
            {"place": {"building": "B", "room": "2"}},
            "an immutable part may be said again with the whole",
        ),
        expected(
            [replace('ports[value eq "p1"]', {"value": "q"})],
            {"ports": [{"value": "q"}, PORTS[1]]},
            "a value is replaced as a whole",
        ),
    ],
)
def test_characteristics_hold_in_any_schema(
    operations: list[dict[str, Any]], changes: dict[str, Any]
) -> None:
    assert patched(PRINTER, operations, DEVICE).resource == with_changes(PRINTER, changes)


def test_a_removed_secret_is_named() -> None:
    assert patched(BABS, [remove("password")]).removed_secrets == {"password"}
    assert patched(PRINTER, [replace("pin", None)], DEVICE).removed_secrets == {"pin"}
    assert patched(BABS, [replace("password", "secret"), remove("title")]).removed_secrets == frozenset()


def test_schemas_are_those_of_the_extensions_present() -> None:
    lacking = {**BABS, "schemas": ["urn:old"]}

    assert patched(lacking, [], profile=DEFAULT).resource["schemas"] == [CORE, ENTERPRISE]


@pytest.mark.parametrize("profile", BOTH, ids=["default", "strict"])
@pytest.mark.parametrize(
    "operation",
    [
        replace("schemas", [CORE, ENTERPRISE]),
        replace("schemas", [CORE.upper()]),
        add("schemas", [SRAM]),
        add("schemas", SRAM),
        add(None, {"schemas": [CORE]}),
        replace(None, {"schemas": CORE}),
    ],
)
def test_schemas_that_a_resource_can_have_change_nothing(profile: Any, operation: dict[str, Any]) -> None:
    assert patched(BABS, [operation], profile=profile).resource == BABS
