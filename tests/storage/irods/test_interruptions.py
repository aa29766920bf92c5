"""Work that ends in the middle: what is there is whole, and what was left is repaired."""

import re

import pytest

from storage.adapter import StorageAdapter
from storage.errors import OutcomeUnknown, StorageError, StorageUnavailable
from storage.testing import GROUP, USER
from tests.storage.irods.store import Store, changed, create, found, values

# The first thing that is done is a query, and what fails there has changed nothing.
UNREAD: dict[int, type[StorageError]] = {702: StorageUnavailable}
SAD = ("silence", "rubbish", "half", "hang_up")


@pytest.mark.parametrize("request_number", [702, 701, 706, 20002])
@pytest.mark.parametrize("how", SAD)
@pytest.mark.parametrize("done", [False, True])
def test_an_interrupted_creation_leaves_nothing_half_made(
    store: Store, hasty: StorageAdapter, request_number: int, how: str, done: bool
) -> None:
    mischief = store.fake.mischief
    interrupted = mischief.once_done if done else mischief.in_place_of
    expected = UNREAD.get(request_number, OutcomeUnknown)
    with interrupted(request_number, getattr(mischief, how)), pytest.raises(expected):
        create(hasty, USER, userName="a", emails=[{"value": "a@x"}])

    listed = [user.id for user in hasty.scan(USER)]
    assert found(hasty, USER, 'userName eq "a"') == found(hasty, USER, 'emails.value eq "a@x"') == listed
    age_notes(store)
    hasty.prepare([USER, GROUP])
    if not listed:
        created = create(hasty, USER, userName="a", emails=[{"value": "a@x"}])
        assert store.account_of(created.id) == "a"
    assert len(found(hasty, USER, 'emails.value eq "a@x"')) == 1
    assert not store.fake.catalog.account("rods").avus


@pytest.mark.parametrize("request_number", [706, 20002, 702])
@pytest.mark.parametrize("how", SAD)
@pytest.mark.parametrize("done", [False, True])
def test_an_interrupted_change_has_happened_or_not_and_is_repaired(
    store: Store, hasty: StorageAdapter, request_number: int, how: str, done: bool
) -> None:
    user = create(hasty, USER, userName="a", title="old")
    mischief = store.fake.mischief
    interrupted = mischief.once_done if done else mischief.in_place_of
    expected = UNREAD.get(request_number, OutcomeUnknown)
    with interrupted(request_number, getattr(mischief, how)), pytest.raises(expected):
        hasty.replace(USER, changed(user, userName="b", title="new"), user.version)

    now = hasty.get(USER, user.id)
    assert (now.document["userName"], now.document["title"]) in (("a", "old"), ("b", "new"))
    assert (now.version == user.version) is (now.document["title"] == "old")
    age_notes(store)
    after = hasty.replace(USER, changed(user, userName="c"))
    hasty.replace(USER, changed(user, userName="d"), after.version)
    for name in "abc":
        create(hasty, USER, userName=name)
    avus = store.metadata(user.id)
    assert len(values(avus, "scim.version")) == 1 and not values(avus, "scim.writing")


def test_a_change_that_just_began_is_not_mistaken_for_an_interrupted_one(
    store: Store, hasty: StorageAdapter
) -> None:
    user = create(hasty, USER, userName="a")
    mischief = store.fake.mischief
    with mischief.once_done(706, mischief.hang_up), pytest.raises(OutcomeUnknown):
        hasty.replace(USER, changed(user, userName="b"))

    with pytest.raises(StorageUnavailable, match="interrupted"):
        hasty.replace(USER, changed(user, userName="c"), user.version)
    assert hasty.get(USER, user.id).document["userName"] == "a"


def age_notes(store: Store) -> None:
    """Let what is under way have begun long ago."""
    for account in store.fake.catalog.accounts.values():
        aged = {}
        for attribute, value, unit in account.avus:
            aged[attribute, _aged(value), _aged(unit)] = None
        account.avus = aged


def _aged(text: str) -> str:
    return re.sub(r"\b(\d{13}):", lambda match: f"{int(match[1]) - 30_000}:", text)
