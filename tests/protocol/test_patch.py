"""What a PATCH costs, in steps: it grows with operations and values, not with their product."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.protocol.errors import Refusal
from app.protocol.patch import PatchOperation, PatchRules, RequestedMembers, apply_patch, check_operations
from app.protocol.patch import elements as elements_module
from app.protocol.patch import index as index_module
from app.protocol.patch import plan as plan_module
from app.protocol.patch import plan_patch
from app.protocol.profiles import profile_of
from schema.registry import load_registry
from schema.resource_type import ResourceType

DEFAULT = profile_of("default")


@pytest.fixture(scope="module")
def types() -> dict[str, ResourceType]:
    return {one.name: one for one in load_registry(None).resource_types}


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count calls of the real functions that look at values, read text or build validators."""
    counted: Counter[str] = Counter()

    def count(module: Any, name: str, wrap: Callable[[str, Any], Any]) -> None:
        monkeypatch.setattr(module, name, wrap(name, getattr(module, name)))

    def calls(name: str, real: Any) -> Any:
        def counting(*args: Any) -> Any:
            counted[name] += 1
            return real(*args)

        return counting

    def results(name: str, real: Any) -> Any:
        return lambda *args: calls(name, real(*args))

    count(plan_module, "parse_path", calls)
    count(plan_module, "compile_attribute_validator", calls)
    count(plan_module, "compile_element_validator", calls)
    count(elements_module, "compile_element_predicate", results)
    count(index_module, "lenient_key", results)
    count(elements_module, "frozen", calls)
    return counted


def user(emails: int) -> dict[str, Any]:
    return {"userName": "u", "emails": [{"value": f"e{number}@x", "type": "t"} for number in range(emails)]}


def group_members(number: int) -> Iterator[dict[str, Any]]:
    for one in range(number):
        yield {"value": str(one), "type": "User", "display": f"name {one}"}


def patched(
    resource_type: ResourceType, resource: dict[str, Any], operations: list[PatchOperation]
) -> dict[str, Any]:
    plan = plan_patch(PatchRules(resource_type, DEFAULT), operations)
    return apply_patch(plan, resource, RequestedMembers(lambda: ())).resource


ADD = [PatchOperation("add", "emails", [{"value": f"n{number}@x"}]) for number in range(1000)]
MAKE = [PatchOperation("add", f'emails[type eq "n{n}"].value', f"n{n}@x") for n in range(1000)]
REPLACE = [PatchOperation("replace", f'emails[value eq "e{n}@x"].display', "D") for n in range(1000)]
EITHER = [
    PatchOperation("replace", f'emails[(value eq "e{n}@x" or value eq "E{n}@X") and type pr].display', "D")
    for n in range(1000)
]
REMOVE = [PatchOperation("remove", f'emails[value eq "e{n}@x"]') for n in range(1000)]
LIST = [PatchOperation("remove", "emails", [{"Value": f"E{n}@X", "type": "t"}]) for n in range(1000)]
PRIMARY = [PatchOperation("replace", f'emails[value eq "e{n}@x"].primary', True) for n in range(1000)]


@pytest.mark.parametrize("operations", [ADD, MAKE, REPLACE, EITHER, REMOVE, LIST, PRIMARY])
def test_operations_cost_what_they_select(
    types: dict[str, ResourceType], counts: Counter[str], operations: list[PatchOperation]
) -> None:
    patched(types["User"], user(1000), operations)

    # A look at each of the 1,000 values for each of at most three indexes, and some for each operation.
    assert sum(counts.values()) < 20 * (1000 + 1000)


@pytest.mark.parametrize(("op", "value"), [("remove", None), ("replace", "same"), ("add", "same")])
def test_operations_on_simple_values_cost_what_they_select(
    types: dict[str, ResourceType], counts: Counter[str], op: str, value: str | None
) -> None:
    urn = "urn:mace:surf.nl:sram:scim:extension:Group"
    group = {"displayName": "g", urn: {"labels": [f"l{number}" for number in range(1000)]}}
    operations = [PatchOperation(op, f'{urn}:labels[value eq "L{n}"]', value) for n in range(999)]

    resource = patched(types["Group"], group, operations)

    assert resource[urn]["labels"] == (["same", "l999"] if value else ["l999"])
    assert sum(counts.values()) < 20 * (1000 + 1000)


def test_the_cost_is_counted_where_it_arises(types: dict[str, ResourceType], counts: Counter[str]) -> None:
    patched(types["User"], user(100), [PatchOperation("remove", 'emails[value co "none"]')] * 7)

    assert counts["compile_element_predicate"] == 700


def test_a_path_is_read_once_and_a_validator_compiled_once(
    types: dict[str, ResourceType], counts: Counter[str]
) -> None:
    operations = [
        PatchOperation(op, path, {"value": "v"} if path == "emails" else "v")
        for op in ("add", "replace")
        for path in ("title", 'emails[type eq "t"].display', "emails", "name.givenName")
    ]

    patched(types["User"], user(1), operations[:1] + operations[1:4] * 50)

    assert counts["parse_path"] == 4
    assert counts["compile_attribute_validator"] + counts["compile_element_validator"] == 4


def test_a_check_costs_what_there_are_operations(
    types: dict[str, ResourceType], counts: Counter[str]
) -> None:
    check_operations(plan_patch(PatchRules(types["User"], DEFAULT), [*ADD, *MAKE, *REPLACE, *LIST]))

    assert counts["compile_attribute_validator"] + counts["compile_element_validator"] < 10
    assert sum(counts.values()) < 20 * 4000


@pytest.mark.parametrize(
    "operations",
    [
        [PatchOperation("remove", f'members[display eq "name {n}"]') for n in range(1000)],
        [PatchOperation("replace", f'members[display eq "name {n}"]', {"value": "x"}) for n in range(1000)],
        [PatchOperation("remove", f'members[type eq "User" and display eq "name {n}"]') for n in range(1000)],
    ],
)
def test_members_are_read_once_and_found_by_index(
    types: dict[str, ResourceType], counts: Counter[str], operations: list[PatchOperation]
) -> None:
    reads = []

    def load() -> Iterator[dict[str, Any]]:
        reads.append(1)
        return group_members(3000)

    changes = RequestedMembers(load)
    apply_patch(plan_patch(PatchRules(types["Group"], DEFAULT), operations), {"displayName": "g"}, changes)

    assert reads == [1]
    assert set(changes.removed) == {str(number) for number in range(1000)}
    assert sum(counts.values()) < 20 * (3000 + 1000)


def test_filters_see_what_operations_before_them_did(types: dict[str, ResourceType]) -> None:
    operations = [
        PatchOperation("remove", 'members[display sw "name 1"]'),
        PatchOperation("add", "members", [{"value": "new"}, {"value": "10"}]),
        PatchOperation("remove", 'members[display eq "name 10" or value eq "new"]'),
        PatchOperation("add", "members", [{"value": "1"}]),
    ]
    changes = RequestedMembers(
        lambda: group_members(20), lambda named: [one for one in group_members(20) if one["value"] in named]
    )

    apply_patch(plan_patch(PatchRules(types["Group"], DEFAULT), operations), {"displayName": "g"}, changes)

    assert set(changes.added) == {"1"} and not changes.cleared
    assert set(changes.removed) == {*map(str, range(10, 20)), "new"}


def test_members_of_another_definition_are_removed_in_any_case(tmp_path: Path) -> None:
    shutil.copytree(Path(plan_module.__file__).parents[3] / "schema", tmp_path / "schema")
    source = tmp_path / "schema" / "core" / "Group.json"
    definition = json.loads(source.read_text())
    (members,) = [one for one in definition["attributes"] if one["name"] == "members"]
    next(sub for sub in members["subAttributes"] if sub["name"] == "value")["caseExact"] = False
    source.write_text(json.dumps(definition))
    group = next(one for one in load_registry(tmp_path / "schema").resource_types if one.name == "Group")

    for operation in (
        PatchOperation("remove", "members", [{"Value": "HKODDEN"}]),
        PatchOperation("remove", 'members[value eq "HKodden"]'),
    ):
        changes = RequestedMembers(lambda: iter([{"value": "hkodden"}, {"value": "other"}]))
        apply_patch(plan_patch(PatchRules(group, DEFAULT), [operation]), {"displayName": "g"}, changes)
        assert set(changes.removed) == {"hkodden"}


@pytest.mark.parametrize(
    "operation",
    [
        PatchOperation("remove", 'emails[value co "none"]'),
        PatchOperation("remove", 'emails[not (type eq "t")].value'),
        PatchOperation("add", 'emails[value sw "e" and display pr].type', "x"),
        PatchOperation("replace", "emails.display", "x"),
        PatchOperation("replace", 'emails[type eq "t"].display', "x"),
        PatchOperation("remove", "emails", [{"type": "t", "value": "none"}, {"type": "T"}]),
    ],
)
def test_what_no_index_answers_has_a_limit(types: dict[str, ResourceType], operation: PatchOperation) -> None:
    operations = [operation] * 300
    if isinstance(operation.value, list):
        # What is found at once is found by an index, however often it is asked for.
        assert "emails" not in patched(types["User"], user(3000), operations)
        return
    if operation.op == "add":
        operations = [PatchOperation("replace", "emails.display", "x"), *operations]

    with pytest.raises(Refusal) as refused:
        patched(types["User"], user(3000), operations)

    assert (refused.value.status, refused.value.scim_type) == (413, "tooMany")
    assert refused.value.detail.startswith("Operations[") and "250000" in refused.value.detail


def test_one_filter_of_any_kind_is_within_the_limit(types: dict[str, ResourceType]) -> None:
    changes = RequestedMembers(lambda: group_members(300_000))
    operation = PatchOperation("remove", 'members[not (display co "7" or type eq "Group")]')

    apply_patch(plan_patch(PatchRules(types["Group"], DEFAULT), [operation]), {"displayName": "g"}, changes)

    assert len(changes.removed) == sum("7" not in str(number) for number in range(300_000))


def test_long_values_count_by_their_length(types: dict[str, ResourceType]) -> None:
    resource = {"userName": "u", "emails": [{"value": "a@x", "display": "d" * 900_000}]}
    operations = [PatchOperation("replace", 'emails[display co "q" or value eq "a@x"].type', "t")] * 1000

    with pytest.raises(Refusal):
        patched(types["User"], resource, operations)


def test_a_long_value_is_not_written_into_many_elements(types: dict[str, ResourceType]) -> None:
    with pytest.raises(Refusal):
        patched(types["User"], user(3000), [PatchOperation("replace", "emails.display", "d" * 900_000)])
