"""What PATCH makes of the parts of complex values: required ones, lists, and values that become equal."""

from typing import Any

import pytest

from app.protocol.errors import Refusal
from app.protocol.patch import PatchOperation, PatchRules, check_operations, plan_patch
from app.protocol.profiles import Profile
from schema.attribute import Attribute
from schema.errors import InvalidValue, Mutability
from schema.resource_type import ResourceType, Schema, SchemaExtension
from tests.protocol.samples import BOTH, DEFAULT, STRICT, add, patched, remove, replace, with_changes

CORE, LABEL = "urn:example:Crate", "urn:example:label"
PARTS = (
    Attribute("a", required=True),
    Attribute("d"),
    Attribute("tags", multi_valued=True),
)
CRATE = ResourceType(
    "Crate",
    "/Crates",
    "",
    Schema(
        CORE,
        "Crate",
        "",
        (
            Attribute("title"),
            Attribute("box", "complex", sub_attributes=PARTS),
            Attribute(
                "boxes",
                "complex",
                multi_valued=True,
                sub_attributes=(
                    Attribute("value"),
                    Attribute("type", required=True),
                    Attribute("num", "integer"),
                    Attribute("tags", multi_valued=True),
                    Attribute("primary", "boolean"),
                ),
            ),
        ),
    ),
    (SchemaExtension(Schema(LABEL, "Label", "", (Attribute("box", "complex", sub_attributes=PARTS),))),),
)
BOX = {"a": "1", "tags": ["x"]}
X, Y = {"value": "x", "type": "t", "tags": ["x"]}, {"value": "y", "type": "u"}
FULL: dict[str, Any] = {"schemas": [CORE, LABEL], "box": BOX, "boxes": [X, Y], LABEL: {"box": BOX}}
BARE = {"schemas": [CORE], "title": "t"}
profiles = pytest.mark.parametrize("profile", BOTH, ids=["default", "strict"])


def after(operations: list[dict[str, Any]], profile: Profile = DEFAULT, resource: Any = FULL) -> Any:
    return patched(resource, operations, CRATE, profile).resource


@profiles
@pytest.mark.parametrize("write", [add, replace])
def test_parts_of_a_complex_value_that_are_not_given_stay(profile: Profile, write: Any) -> None:
    box = {**BOX, "d": "3"}

    assert after([write("box", {"d": "3"})], profile) == with_changes(FULL, {"box": box})
    assert after([write(None, {"box": {"d": "3"}})], profile) == with_changes(FULL, {"box": box})
    for operation in (
        write(f"{LABEL}:box", {"d": "3"}),
        write(LABEL, {"box": {"d": "3"}}),
        write(None, {LABEL: {"box": {"d": "3"}}}),
    ):
        assert after([operation], profile) == with_changes(FULL, {LABEL: {"box": box}})


@profiles
@pytest.mark.parametrize("value", [{"num": 3}, [{"num": 3}]])
def test_parts_of_an_element_that_are_not_given_stay(profile: Profile, value: Any) -> None:
    changed = after([add('boxes[value eq "x"]', value)], profile)

    assert changed == with_changes(FULL, {"boxes": [{**X, "num": 3}, Y]})


@pytest.mark.parametrize("value", [[{"d": "3"}], '{"d": "3"}'])
def test_an_object_sent_otherwise_is_merged_as_well(value: Any) -> None:
    assert after([replace("box", value)]) == with_changes(FULL, {"box": {**BOX, "d": "3"}})


@profiles
@pytest.mark.parametrize(
    ("operation", "resource", "detail"),
    [
        (replace("box", {"d": "3"}), BARE, "box.a: is required"),
        (add(None, {"box": {"d": "3"}}), BARE, "box.a: is required"),
        (replace("box", {"a": None}), FULL, "box.a: is required"),
        (add("box", {"a": ""}), FULL, "box.a: is required"),
        (replace(LABEL, {"box": {"a": None, "d": "3"}}), FULL, f"{LABEL}:box.a: is required"),
        (add('boxes[value eq "x"]', {"type": None}), FULL, "boxes.type: is required"),
        (add('boxes[value eq "x"]', {"type": ""}), FULL, "boxes.type: is required"),
        (replace('boxes[value eq "x"]', {"num": 3}), FULL, "Operations[0]: boxes.type: is required"),
        (add("boxes", [{"num": 3}]), FULL, "Operations[0]: boxes[0].type: is required"),
    ],
)
def test_a_merged_value_has_what_is_required(
    profile: Profile, operation: dict[str, Any], resource: dict[str, Any], detail: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        after([operation], profile, resource)

    assert caught.value.detail == detail


def test_a_later_operation_may_complete_a_value() -> None:
    operations = [add("box", {"d": "3"}), add("box", {"a": "1"})]

    assert after(operations, STRICT, BARE) == {**BARE, "box": {"a": "1", "d": "3"}}


@profiles
def test_parts_are_accepted_where_the_resource_is_not_known(profile: Profile) -> None:
    rules, value = PatchRules(CRATE, profile), {"d": "3"}
    operations = [PatchOperation("replace", "box", value), PatchOperation("add", None, {"box": value})]

    check_operations(plan_patch(rules, operations))
    with pytest.raises(InvalidValue, match="box.d: must be a string"):
        check_operations(plan_patch(rules, [PatchOperation("add", "box", {"d": 3})]))


@profiles
@pytest.mark.parametrize(
    ("operation", "path"),
    [
        (remove("boxes.type"), "boxes.type"),
        (remove('boxes[value eq "x"].type'), "boxes.type"),
        (remove('boxes[value eq "none"].type'), "boxes.type"),
        (replace('boxes[value eq "x"].type', None), "boxes.type"),
        (replace("boxes.type", None), "boxes.type"),
        (remove('box[d eq "3"].a'), "box.a"),
        (replace("box.a", None), "box.a"),
        (remove(f"{LABEL}:box.a"), f"{LABEL}:box.a"),
    ],
)
def test_a_required_part_cannot_be_removed(profile: Profile, operation: dict[str, Any], path: str) -> None:
    with pytest.raises(Mutability) as caught:
        after([operation], profile)

    assert caught.value.detail == f"Operations[0]: {path}: is required"


@profiles
@pytest.mark.parametrize(
    ("operation", "path"),
    [
        (replace('boxes[value eq "x"].type', ""), "boxes.type"),
        (add('boxes[value eq "x"].type', ""), "boxes.type"),
        (replace("boxes.type", ""), "boxes.type"),
        (replace("box.a", ""), "box.a"),
        (add(f"{LABEL}:box.a", ""), f"{LABEL}:box.a"),
    ],
)
def test_a_required_part_has_a_value(profile: Profile, operation: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        after([operation], profile)

    assert caught.value.detail == f"Operations[0]: {path}: is required"


@pytest.mark.parametrize(
    ("operation", "profile", "detail"),
    [
        (add("box.d", "3"), STRICT, "box.a: is required"),
        (replace("box.d", "3"), STRICT, "box.a: is required"),
        (add(None, {"box.d": "3"}), DEFAULT, "box.a: is required"),
        (add(f"{LABEL}:box.d", "3"), STRICT, f"{LABEL}:box.a: is required"),
        (add("boxes.num", 3), STRICT, "boxes.type: is required"),
        (replace("boxes.num", 3), STRICT, "boxes.type: is required"),
        (add("boxes[num eq 3]", {"value": "z"}), DEFAULT, "boxes.type: is required"),
        (add("boxes[num eq 3].value", "z"), DEFAULT, "boxes.type: is required"),
        (replace("boxes[num eq 3].value", "z"), DEFAULT, "boxes.type: is required"),
        (add('box[d eq "3"].tags', ["z"]), DEFAULT, "box.a: is required"),
    ],
)
def test_a_new_complex_value_has_what_is_required(
    operation: dict[str, Any], profile: Profile, detail: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        after([operation], profile, BARE)

    assert caught.value.detail == detail


def test_several_operations_may_make_a_complex_value() -> None:
    box = [add("box.d", "3"), add("box.a", "1")]
    boxes = [add("boxes[num eq 3].value", "z"), add("boxes[num eq 3].type", "t")]

    changed = after(box + boxes, DEFAULT, BARE)

    assert changed["box"] == {"a": "1", "d": "3"}
    assert changed["boxes"] == [{"num": 3, "value": "z", "type": "t"}]


@profiles
def test_a_value_that_was_stored_without_what_is_required_stays_changeable(profile: Profile) -> None:
    lacking = {**BARE, "box": {"d": "3"}, "boxes": [{"value": "x"}, Y]}
    operations = [
        replace("title", "u"),
        replace("box.d", "4"),
        add('boxes[value eq "x"].num', 3),
        add("boxes", [{"type": "t"}]),
        remove('boxes[value eq "y"]'),
    ]

    changed = after(operations, profile, lacking)

    assert changed == {
        **BARE,
        "title": "u",
        "box": {"d": "4"},
        "boxes": [{"value": "x", "num": 3}, {"type": "t"}],
    }


@profiles
@pytest.mark.parametrize("value", [["y"], ["x", "y"], "y"])
@pytest.mark.parametrize("path", ["box.tags", f"{LABEL}:box.tags"])
def test_add_appends_to_a_list_in_a_complex_value(profile: Profile, path: str, value: Any) -> None:
    box = {**BOX, "tags": ["x", "y"]}

    changed = after([add(path, value)], profile)

    assert changed == with_changes(FULL, {LABEL: {"box": box}} if LABEL in path else {"box": box})


@profiles
@pytest.mark.parametrize(
    "operation",
    [
        add("box", {"tags": ["y", "x"]}),
        add(None, {"box": {"tags": ["y"]}}),
        add("box", {"tags": ["y", "y"]}),
    ],
)
def test_an_added_complex_value_appends_to_its_lists(profile: Profile, operation: dict[str, Any]) -> None:
    assert after([operation], profile)["box"] == {**BOX, "tags": ["x", "y"]}


@profiles
@pytest.mark.parametrize("value", [None, []])
def test_to_add_nothing_to_a_list_leaves_it(profile: Profile, value: Any) -> None:
    assert after([add("box.tags", value), add('boxes[value eq "x"].tags', value)], profile) == FULL


@profiles
@pytest.mark.parametrize(
    ("operation", "first", "second"),
    [
        (add("boxes.tags", ["z"]), ["x", "z"], ["z"]),
        (add('boxes[value eq "x"].tags', ["z"]), ["x", "z"], None),
        (add('boxes[value eq "x"]', {"tags": ["z"]}), ["x", "z"], None),
        (replace("boxes.tags", ["z"]), ["z"], ["z"]),
        (replace('boxes[value eq "x"].tags', ["z"]), ["z"], None),
        (replace('boxes[value eq "x"].tags', []), None, None),
        (remove('boxes[value eq "x"].tags'), None, None),
    ],
)
def test_lists_in_elements_are_changed(
    profile: Profile, operation: dict[str, Any], first: Any, second: Any
) -> None:
    expected = [with_changes(X, {"tags": first}), with_changes(Y, {"tags": second})]

    assert after([operation], profile)["boxes"] == expected


@profiles
@pytest.mark.parametrize(
    ("operation", "tags"),
    [
        (replace("box.tags", ["y"]), ["y"]),
        (replace("box", {"tags": ["y"]}), ["y"]),
        (replace(None, {"box": {"tags": ["y"]}}), ["y"]),
        (replace("box.tags", []), None),
        (replace("box", {"tags": []}), None),
        (replace("box", {"tags": None}), None),
        (remove("box.tags"), None),
    ],
)
def test_replace_and_remove_leave_nothing_of_a_list(
    profile: Profile, operation: dict[str, Any], tags: Any
) -> None:
    assert after([operation], profile)["box"] == with_changes(BOX, {"tags": tags})


@pytest.mark.parametrize("value", [["X"], "x", ["x", "none"]])
@pytest.mark.parametrize("path", ["box.tags", "boxes.tags", 'boxes[value eq "x"].tags', 'box[a eq "1"].tags'])
def test_remove_by_value_leaves_the_others_of_a_list(path: str, value: Any) -> None:
    tags = {"tags": ["x", "y"]}
    before = {**FULL, "box": {**BOX, **tags}, "boxes": [{**X, **tags}, Y]}

    changed = after([remove(path, value)], DEFAULT, before)

    one = {"box": {**BOX, "tags": ["y"]}} if "boxes" not in path else {"boxes": [{**X, "tags": ["y"]}, Y]}
    assert changed == {**before, **one}
    assert after([remove(path, [])], DEFAULT, before) == before
    with pytest.raises(InvalidValue, match="is not allowed with remove"):
        after([remove(path, value)], STRICT, before)


def test_the_last_removed_value_unassigns_the_list() -> None:
    assert after([remove("box.tags", ["x"])])["box"] == {"a": "1"}


def test_an_element_that_a_filter_describes_has_a_list() -> None:
    changed = after([add('boxes[type eq "v" and tags eq "q"].value', "z")])

    assert changed["boxes"] == [X, Y, {"type": "v", "tags": ["q"], "value": "z"}]


def test_many_changes_of_one_list_are_refused() -> None:
    long = {**FULL, "box": {"a": "1", "tags": list(map(str, range(3000)))}}

    assert len(after([add("box.tags", ["x"])] * 80, DEFAULT, long)["box"]["tags"]) == 3001
    with pytest.raises(Refusal) as refused:
        after([add("box.tags", ["x"])] * 300, DEFAULT, long)
    assert refused.value.status == 413


TWO = [{"value": "a", "type": "t"}, {"value": "b", "type": "t"}, {"value": "c", "type": "u"}]
PRIMARY = {"value": "a", "type": "t", "primary": True}
SECOND, THIRD = {**PRIMARY, "primary": False}, {**TWO[1], "primary": True}
SAME = {"value": "z", "type": "t"}


@profiles
@pytest.mark.parametrize(
    ("stored", "operation", "left"),
    [
        (TWO, replace('boxes[type eq "t"]', SAME), [SAME, TWO[2]]),
        (TWO, replace('boxes[type eq "t"]', TWO[2]), [TWO[2]]),
        (TWO, replace('boxes[type eq "t"]', PRIMARY), [PRIMARY, TWO[2]]),
        (TWO, replace('boxes[type eq "t"].value', "z"), [SAME, TWO[2]]),
        (TWO, add('boxes[type eq "t"]', {"value": "z"}), [SAME, TWO[2]]),
        (TWO, add('boxes[value eq "c"]', TWO[1]), TWO[:2]),
        (TWO, remove('boxes[type eq "t"].value'), [{"type": "t"}, TWO[2]]),
        (TWO, remove("boxes.value"), [{"type": "t"}, {"type": "u"}]),
        (TWO, replace("boxes.value", "z"), [{"value": "z", "type": "t"}, {"value": "z", "type": "u"}]),
        ([PRIMARY, SECOND, TWO[1]], replace('boxes[value eq "b"].primary', True), [SECOND, THIRD]),
        ([PRIMARY, SECOND], add("boxes", {**TWO[1], "primary": True}), [SECOND, THIRD]),
    ],
)
def test_values_that_become_equal_are_one_value(
    profile: Profile, stored: Any, operation: dict[str, Any], left: Any
) -> None:
    assert after([operation], profile, {**BARE, "boxes": stored})["boxes"] == left


@profiles
@pytest.mark.parametrize(
    "operation",
    [replace("box", {"d": "3"}), add('boxes[value eq "x"]', {"num": 3}), replace(LABEL, {"box": {"d": "3"}})],
)
def test_a_part_that_was_lacking_before_refuses_no_other_change(
    profile: Profile, operation: dict[str, Any]
) -> None:
    lacking = {
        "schemas": [CORE, LABEL],
        "box": {"tags": ["x"]},
        "boxes": [{"value": "x"}],
        LABEL: {"box": {"tags": ["x"]}},
    }

    changed = after([operation], profile, lacking)

    assert changed != lacking
    assert after([operation, add("box.a", "1")], profile, lacking)["box"]["a"] == "1"
    with pytest.raises(InvalidValue, match="box.a: is required"):
        after([add("box.a", "")], profile, lacking)
    with pytest.raises(InvalidValue, match="boxes.type: is required"):
        after([add('boxes[value eq "z" and num eq 1].value', "z")], DEFAULT, lacking)
