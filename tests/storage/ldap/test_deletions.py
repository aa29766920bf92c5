"""Deletions that a writer began and did not end: their entries leave the directory all the same."""

from datetime import UTC, datetime, timedelta

import ldap as ldap_client
import pytest

from schema.values import format_date_time
from storage.adapter import Member
from storage.errors import OutcomeUnknown
from storage.ldap.wire import Session
from storage.testing import GROUP, USER, change_members, stored
from tests.storage.ldap.conftest import Place


def begin(place: Place, at: datetime) -> None:
    """Leave the entry of a user as the first step of a deletion does."""
    layout = place.adapter._tree.units["User"].layout
    dn = place.entry("(uid=ann)", "1.1")["dn"][0]
    begun = layout.time(format_date_time(at)).encode()
    marks = [(ldap_client.MOD_REPLACE, layout.version, b"0")]
    place.change(dn, *marks, (ldap_client.MOD_REPLACE, layout.modified, begun))


def names_in(place: Place, text: str) -> list[str]:
    connection = place.server.connect()
    found = connection.search_s(place.base, ldap_client.SCOPE_SUBTREE, text, ["1.1"])
    connection.unbind_s()
    return [dn for dn, _ in found]


def test_an_interrupted_deletion_is_finished_by_the_next_process(place: Place) -> None:
    place.adapter.create(USER, stored("1", userName="ann"))
    place.adapter.create(USER, stored("2", userName="bob"))
    place.adapter.create(GROUP, stored("g", displayName="g"))
    change_members(place.adapter, "g", [Member("1", "User"), Member("2", "User")], ())
    begin(place, datetime.now(UTC) - timedelta(seconds=40))
    dn = names_in(place, "(uid=ann)")[0]

    assert place.another().mend() == 1

    assert names_in(place, "(|(uid=ann)(uid=bob))") == names_in(place, "(uid=bob)")
    assert names_in(place, f"(member={dn})") == []


def test_a_deletion_that_may_be_under_way_is_left_alone(place: Place) -> None:
    place.adapter.create(USER, stored("1", userName="ann"))
    begin(place, datetime.now(UTC))

    assert place.adapter.mend() == 0
    assert names_in(place, "(uid=ann)") != []

    begin(place, datetime.now(UTC) - timedelta(seconds=40))
    assert place.adapter.mend() == 1
    assert names_in(place, "(uid=ann)") == []


def test_a_process_looks_again_after_a_deletion_whose_outcome_it_does_not_know(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.adapter.create(USER, stored("1", userName="ann"))
    assert place.adapter.mend() == 0

    def lost(self: Session, dn: str) -> None:
        raise ldap_client.SERVER_DOWN

    with monkeypatch.context() as patch:
        patch.setattr(Session, "delete", lost)
        with pytest.raises(OutcomeUnknown):
            place.adapter.delete(USER, "1")
    begin(place, datetime.now(UTC) - timedelta(seconds=40))

    assert place.adapter.mend() == 1
    assert names_in(place, "(uid=ann)") == []
