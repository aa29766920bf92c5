"""What PATCH makes of attributes with the characteristics that a schema can give them."""

from typing import Any

import pytest

from schema.errors import NoTarget
from tests.protocol.samples import (
    BABS,
    BOTH,
    CORE,
    DEFAULT,
    DEVICE,
    ENTERPRISE,
    PRINTER,
    SRAM,
    STRICT,
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


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("operations", "changes"),
    [
        expected([remove('tags[value eq "A"]')], {"tags": ["b"]}, "a selected value goes"),
        expected([remove('tags[value eq "A"].value')], {"tags": ["b"]}, "its value is itself"),
        expected([remove('tags[value eq "c"]')], {}, "no value is selected"),
        expected([remove("slots[value gt 1 and value lt 3]")], {"slots": [1, 3]}, "one value meets it all"),
        expected([remove("slots[not (value eq 2)]")], {"slots": [2]}, "all but one go"),
        expected([remove("tags[value pr]")], {"tags": None}, "all values go"),
        expected([remove("tags.value")], {"tags": None}, "the values are the attribute"),
        expected([add("tags.value", ["c"])], {"tags": ["a", "b", "c"]}, "a value of the values is added"),
        expected([replace('tags[value eq "a"]', "c")], {"tags": ["c", "b"]}, "it is replaced in its place"),
        expected([replace('tags[value eq "a"].value', ["c"])], {"tags": ["c", "b"]}, "by a list of one"),
        expected([replace('tags[value eq "a"]', "A")], {"tags": ["A", "b"]}, "by another spelling"),
        expected([replace('tags[value eq "a"]', "a")], {}, "by itself"),
        expected([replace('tags[value eq "a"]', "b")], {"tags": ["b"]}, "by a value that is there"),
        expected([replace('tags[value eq "a"]', None)], {"tags": ["b"]}, "by none"),
        expected([replace("slots[value gt 1]", 0)], {"slots": [1, 0]}, "several become one"),
        expected([add('tags[value eq "a"]', "c")], {"tags": ["c", "b"]}, "add to a value replaces it"),
        expected(
            [add("tags", ["c"]), remove('tags[value eq "a"]'), replace('tags[value eq "c"]', "a")],
            {"tags": ["b", "a"]},
            "an operation sees what others did",
        ),
    ],
)
def test_a_simple_value_is_selected_by_itself(
    profile: Any, operations: list[dict[str, Any]], changes: dict[str, Any]
) -> None:
    assert patched(PRINTER, operations, DEVICE, profile).resource == with_changes(PRINTER, changes)


def test_add_makes_the_simple_value_that_is_not_there() -> None:
    for value, tags in (("c", ["a", "b", "c"]), ("b", ["a", "b"])):
        assert patched(PRINTER, [add('tags[value eq "c"]', value)], DEVICE).resource["tags"] == tags
    with pytest.raises(NoTarget):
        patched(PRINTER, [add('tags[value eq "c"]', "c")], DEVICE, STRICT)


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
