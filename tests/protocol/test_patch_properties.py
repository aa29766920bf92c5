"""What holds of any PATCH on any resource: found out with resources and operations made at random."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.protocol.differences import changed_paths, exact_paths
from app.protocol.differences import operations as operations_between
from app.protocol.patch import PatchOperation, PatchRules, RequestedMembers, apply_patch, plan_patch
from schema.errors import ScimError
from schema.validation import compile_validator
from tests.protocol.samples import (
    CORE,
    ENTERPRISE,
    SRAM,
    STRICT,
    USER,
    no_members,
    stored,
)

PURE = settings(deadline=None, derandomize=True, max_examples=50)

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
TEXTS = st.sampled_from(["a", "A", "ß", "]"]) | st.text(CHARACTERS, min_size=1, max_size=5)
TYPES = st.sampled_from(["work", "home", "other"])


def elements(with_primary: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    parts: dict[str, Any] = {"type": TYPES, "display": TEXTS}
    if with_primary:
        parts["primary"] = st.just(False)
    return st.fixed_dictionaries({"value": TEXTS}, optional=parts)


@st.composite
def lists(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return different values, one primary at the most."""
    values = draw(
        st.lists(elements(), min_size=1, max_size=4, unique_by=lambda one: repr(sorted(one.items())))
    )
    chosen = draw(st.none() | st.integers(0, len(values) - 1))
    return [{**one, "primary": True} if number == chosen else one for number, one in enumerate(values)]


NAMES = st.fixed_dictionaries({}, optional={"givenName": TEXTS, "familyName": TEXTS, "formatted": TEXTS})
EXTENSION = st.fixed_dictionaries(
    {}, optional={"department": TEXTS, "division": TEXTS, "manager": st.fixed_dictionaries({"value": TEXTS})}
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "title": TEXTS,
    "nickName": TEXTS,
    "active": st.booleans(),
    "name": NAMES,
    "emails": lists(),
    "phoneNumbers": lists(),
    ENTERPRISE: EXTENSION,
    SRAM: st.fixed_dictionaries({}, optional={"sramInactiveDays": st.integers(-9, 9)}),
}
validate = compile_validator(USER)


@st.composite
def users(draw: st.DrawFn) -> dict[str, Any]:
    """Return a canonical user."""
    body = draw(st.fixed_dictionaries({"userName": TEXTS}, optional=VALUES))
    schemas = [CORE, *(urn for urn in (ENTERPRISE, SRAM) if body.get(urn))]
    return validate({"schemas": schemas, **body})


@st.composite
def operations(draw: st.DrawFn, ops: tuple[str, ...] = ("add", "remove", "replace")) -> PatchOperation:
    """Return an operation of any kind; it may be one that is refused."""
    name = draw(st.sampled_from(ops))
    attribute = draw(st.sampled_from(sorted(VALUES)))
    path, value = attribute, VALUES[attribute]
    if attribute in ("emails", "phoneNumbers"):
        path, value = draw(
            st.sampled_from(
                [
                    (attribute, value),
                    (f'{attribute}[type eq "work"]', elements(with_primary=False)),
                    (f'{attribute}[type eq "work"].display', TEXTS),
                    (f'{attribute}[type eq "home"].primary', st.just(True)),
                    (f"{attribute}[primary eq true].type", TYPES),
                    (f'{attribute}[not (type eq "work") or display pr].type', TYPES),
                    (f"{attribute}.display", TEXTS),
                ]
            )
        )
    elif attribute == "name":
        path, value = draw(st.sampled_from([("name", NAMES), ("name.givenName", TEXTS)]))
    elif attribute == ENTERPRISE:
        path, value = draw(
            st.sampled_from(
                [
                    (ENTERPRISE, EXTENSION),
                    (f"{ENTERPRISE}:department", TEXTS),
                    (f"{ENTERPRISE}:manager.value", TEXTS),
                ]
            )
        )
    return PatchOperation(name, path, None if name == "remove" else draw(value | st.none()))


def carried_out(resource: Mapping[str, Any], *made: PatchOperation) -> dict[str, Any]:
    plan = plan_patch(PatchRules(USER, STRICT), made)
    return apply_patch(plan, resource, RequestedMembers(no_members)).resource


@PURE
@given(users(), users())
def test_the_operations_between_two_states_lead_from_one_to_the_other(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    old, new = stored(before), stored(after)
    paths = exact_paths(USER, old, new, changed_paths(USER, old, new))

    found = [
        PatchOperation(one["op"], one["path"], one.get("value"))
        for one in operations_between(USER, new, paths)
    ]

    assert carried_out(before, *found) == after


@PURE
@given(users())
def test_nothing_lies_between_a_state_and_itself(user: dict[str, Any]) -> None:
    assert changed_paths(USER, stored(user), stored(deepcopy(user))) == []


@PURE
@given(users(), st.lists(operations(), max_size=4))
def test_a_patch_never_changes_its_input(user: dict[str, Any], made: list[PatchOperation]) -> None:
    before, before_operations = deepcopy(user), deepcopy(made)

    try:
        after = carried_out(user, *made)
        # Nor is a part of it or of the operations shared with the result.
        for name in [*after]:
            if isinstance(after[name], dict | list):
                after[name].clear()
    except ScimError:
        pass

    assert user == before and made == before_operations


@PURE
@given(users(), operations(ops=("replace",)))
def test_a_replace_carried_out_twice_is_as_good_as_once(
    user: dict[str, Any], operation: PatchOperation
) -> None:
    try:
        once = carried_out(user, operation)
    except ScimError:
        return
    if operation.path and "[" in operation.path and not operation.path.endswith("].display"):
        # What the path selected may be selected no more.
        return

    assert carried_out(once, operation) == once == carried_out(user, operation, operation)


@PURE
@given(users(), operations())
def test_the_result_is_canonical(user: dict[str, Any], operation: PatchOperation) -> None:
    try:
        after = carried_out(user, operation)
    except ScimError:
        return

    assert validate(after) == after


@PURE
@given(users(), st.lists(operations(), min_size=2, max_size=4))
def test_operations_together_are_those_one_after_the_other(
    user: dict[str, Any], made: list[PatchOperation]
) -> None:
    try:
        expected = user
        for operation in made:
            expected = carried_out(expected, operation)
    except ScimError:
        return

    assert carried_out(user, *made) == expected


@PURE
@given(users(), st.sampled_from(["emails", "phoneNumbers"]), elements(with_primary=False))
def test_a_fresh_value_added_and_removed_leaves_no_trace(
    user: dict[str, Any], attribute: str, element: dict[str, Any]
) -> None:
    fresh = {**element, "value": "fresh"}
    added = carried_out(user, PatchOperation("add", attribute, [fresh]))

    assert added[attribute] == [*user.get(attribute, ()), fresh]
    assert carried_out(added, PatchOperation("remove", f'{attribute}[value eq "fresh"]')) == user


@PURE
@given(users(), st.sampled_from(["emails", "phoneNumbers"]), lists())
def test_one_value_is_primary_at_the_most(
    user: dict[str, Any], attribute: str, values: list[dict[str, Any]]
) -> None:
    added = carried_out(user, PatchOperation("add", attribute, values))[attribute]

    assert sum(one.get("primary") is True for one in added) <= 1
    fresh = [one for one in values if one not in user.get(attribute, ())]
    assert all(one in added for one in fresh)
