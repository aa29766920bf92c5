"""A client that may see only some resources: the others do not exist for it, wherever it looks."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import app
from app.protocol.authorization import authorize
from app.protocol.context import SCOPES, Context, Principal
from app.protocol.errors import Refusal
from app.wiring.base import open_base
from schema.registry import load_registry
from schema.resource_type import ResourceType
from scim_filter import parse_filter, resolve
from scim_filter.nodes import Node
from tests.conftest import GROUP, KEY, USER, ScimClient, error_of
from tests.events import POLL

NARROW = "narrow-key"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
HIDDEN = "hidden.user"


def not_hidden(context: Context, resource_type: ResourceType) -> Node | None:
    """Return the filter of what the client with the second key sees: nothing whose name begins so."""
    if context.principal.id != f"api-key {hashlib.sha256(NARROW.encode()).hexdigest()[:8]}":
        return None
    name = "userName" if resource_type.name == "User" else "displayName"
    return resolve(parse_filter(f'not ({name} sw "hidden")', max_length=100), resource_type)


class Narrow:
    """A store with hidden resources; `scim` sees everything, and calling this as the other client."""

    def __init__(self, scim: ScimClient) -> None:
        self.scim = scim
        self.seen, self.hidden = scim.user("ann")["id"], scim.user(HIDDEN)["id"]
        self.group = scim.group("team", self.seen, self.hidden)["id"]
        self.hidden_group = scim.group("hidden team", self.seen, self.hidden)["id"]

    def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        return self.scim(method, path, body, {"Authorization": f"Bearer {NARROW}"}, **options)

    def found(self, endpoint: str, text: str, **arguments: Any) -> list[str]:
        """Return the ids of what a filter finds; the total is that of what is seen."""
        answer = self("GET", endpoint, query_string={"filter": text, **arguments}).json
        assert answer["totalResults"] == len(answer["Resources"]), answer
        return [resource["id"] for resource in answer["Resources"]]

    def members(self) -> set[str]:
        """Return the ids of the members that the group really has."""
        return {member["value"] for member in self.scim("GET", f"/Groups/{self.group}").json["members"]}


@pytest.fixture
def narrow(
    make_scim: Callable[..., ScimClient], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Narrow]:
    monkeypatch.setattr(app, "open_base", partial(open_base, predicate=not_hidden))
    yield Narrow(make_scim(API_KEY=f"{KEY},{NARROW}", **POLL))


def test_a_hidden_resource_is_not_found_by_any_method(narrow: Narrow) -> None:
    path = f"/Users/{narrow.hidden}"
    change = {"schemas": [PATCH], "Operations": [{"op": "add", "path": "title", "value": "x"}]}

    error_of(narrow("GET", path), 404)
    error_of(narrow("PUT", path, {"schemas": [USER], "userName": HIDDEN}), 404)
    error_of(narrow("PATCH", path, change), 404)
    error_of(narrow("DELETE", path), 404)
    assert narrow.scim("GET", path).status_code == 200
    assert narrow("GET", f"/Users/{narrow.seen}").status_code == 200


def test_lists_searches_and_totals_hold_what_is_seen(narrow: Narrow) -> None:
    everything = {narrow.seen, narrow.group}

    assert set(narrow.found("/Users", "userName pr")) | set(narrow.found("/Groups", "id pr")) == everything
    assert narrow.found("/Users", f'userName eq "{HIDDEN}"') == []
    assert narrow.found("/Users", f'not (userName eq "{HIDDEN}")', sortBy="userName") == [narrow.seen]
    for path, body in (("/.search", {"schemas": [SEARCH]}), ("/Users/.search", {"schemas": [SEARCH]})):
        answer = narrow("POST", path, body).json
        ids = {resource["id"] for resource in answer["Resources"]}
        assert ids == (everything if path == "/.search" else {narrow.seen})
        assert answer["totalResults"] == len(ids)
    assert narrow("GET", "/Users", query_string={"count": "0"}).json["totalResults"] == 1
    paged = narrow("GET", "/Users", query_string={"cursor": "", "count": "1"}).json
    assert paged["totalResults"] == 1 and "nextCursor" not in paged


def test_members_and_groups_are_shown_as_far_as_they_are_seen(narrow: Narrow) -> None:
    group = narrow("GET", f"/Groups/{narrow.group}").json
    user = narrow("GET", f"/Users/{narrow.seen}").json

    assert [member["value"] for member in group["members"]] == [narrow.seen]
    assert [membership["value"] for membership in user["groups"]] == [narrow.group]


def test_filters_on_members_and_groups_do_not_betray_the_hidden(narrow: Narrow) -> None:
    assert narrow.found("/Groups", f'members.value eq "{narrow.hidden}"') == []
    assert narrow.found("/Groups", f'members[value eq "{narrow.seen}"]') == [narrow.group]
    assert narrow.found("/Users", f'groups.value eq "{narrow.hidden_group}"') == []
    assert narrow.found("/Users", f'groups.value eq "{narrow.group}"') == [narrow.seen]


def test_a_hidden_resource_cannot_become_a_member(narrow: Narrow) -> None:
    body = {"schemas": [GROUP], "displayName": "new", "members": [{"value": narrow.hidden}]}
    add = {"op": "add", "path": "members", "value": [{"value": narrow.hidden}]}

    assert narrow.hidden in error_of(narrow("POST", "/Groups", body), 400, "invalidValue")
    change = {"schemas": [PATCH], "Operations": [add]}
    error_of(narrow("PATCH", f"/Groups/{narrow.group}", change), 400, "invalidValue")


def test_hidden_members_stay_when_a_group_is_written(narrow: Narrow) -> None:
    path = f"/Groups/{narrow.group}"
    remove = {"schemas": [PATCH], "Operations": [{"op": "remove", "path": "members"}]}

    put = narrow("PUT", path, {"schemas": [GROUP], "displayName": "team"})
    assert put.status_code == 200 and "members" not in put.json
    assert narrow.members() == {narrow.hidden}
    assert narrow("PATCH", path, remove).status_code == 200
    assert narrow.members() == {narrow.hidden}


def test_answers_to_writes_show_what_is_seen(narrow: Narrow) -> None:
    change = {"schemas": [PATCH], "Operations": [{"op": "add", "path": "title", "value": "x"}]}

    user = narrow("PATCH", f"/Users/{narrow.seen}", change).json

    assert [membership["value"] for membership in user["groups"]] == [narrow.group]


def test_results_of_asynchronous_writes_show_what_is_seen(
    make_scim: Callable[..., ScimClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "open_base", partial(open_base, predicate=not_hidden))
    narrow = Narrow(make_scim(API_KEY=f"{KEY},{NARROW}", ASYNC_REQUEST="request", **POLL))
    change = {"schemas": [PATCH], "Operations": [{"op": "add", "path": "title", "value": "x"}]}
    sent = {"Authorization": f"Bearer {NARROW}", "Prefer": "respond-async"}

    location = narrow.scim("PATCH", f"/Users/{narrow.seen}", change, sent).headers["Location"]
    narrow.scim.work()

    user = narrow("GET", location).json["response"]
    assert [membership["value"] for membership in user["groups"]] == [narrow.group]


def test_bulk_does_not_reach_the_hidden(narrow: Narrow) -> None:
    operations = [
        {"method": "DELETE", "path": f"/Users/{narrow.hidden}"},
        {"method": "DELETE", "path": f"/Groups/{narrow.hidden_group}"},
        {"method": "DELETE", "path": f"/Users/{narrow.seen}"},
    ]

    results = narrow("POST", "/Bulk", {"schemas": [BULK], "Operations": operations}).json["Operations"]

    assert [result["status"] for result in results] == ["404", "404", "204"]
    # Who is removed leaves the groups that its remover does not see, too.
    hidden = narrow.scim("GET", f"/Groups/{narrow.hidden_group}").json
    assert [member["value"] for member in hidden["members"]] == [narrow.hidden]


def test_feeds_hold_what_is_seen(narrow: Narrow) -> None:
    listed = narrow("GET", "/Events/Feeds").json
    everything = narrow("GET", "/Events/Feeds/default").json

    assert narrow.hidden_group not in [feed["id"] for feed in listed["Resources"]]
    assert not [uri for uri in everything["members"] if narrow.hidden in uri]
    error_of(narrow("GET", f"/Events/Feeds/{narrow.hidden_group}"), 404)
    for feed in (narrow.hidden_group, narrow.group, "default"):
        error_of(narrow("GET", f"/Events/Feeds/{feed}/Stream"), 403)
        error_of(narrow("POST", f"/Events/Feeds/{feed}/Stream", {}), 403)


@pytest.mark.sqlite
@pytest.mark.parametrize("action", ["read", "create", "replace", "patch", "delete"])
@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (set(), []),
        ({"scim.read"}, [("read", "User"), ("read", "Group")]),
        ({"scim.read:User"}, [("read", "User")]),
        ({"scim.write:Group"}, [(a, "Group") for a in ("create", "replace", "patch", "delete")]),
        ({"scim.events", "scim.admin", "SCIM.READ"}, []),
    ],
)
def test_what_no_scope_allows_is_refused(action: Any, scopes: set[str], allowed: Any) -> None:
    context = Context(Principal("p", "p", "token", frozenset(scopes)))

    for resource_type in load_registry(None).resource_types:
        if (action, resource_type.name) in allowed:
            authorize(context, action, resource_type)
            continue
        with pytest.raises(Refusal) as caught:
            authorize(context, action, resource_type)
        assert caught.value.status == 403


@pytest.mark.sqlite
def test_the_context_of_a_job_survives_as_json() -> None:
    principal = Principal("id", "name", "token", SCOPES, "credential", "u1")
    context = Context(principal, "strict", "192.0.2.1", request_id="r")

    kept = Context.from_json(json.loads(json.dumps(context.as_json())))

    assert (kept.principal, kept.profile, kept.address) == (principal, "strict", "192.0.2.1")
    assert (kept.request_id, kept.origin, kept.job, kept.txn) == ("r", "async", None, "")


@pytest.mark.sqlite
def test_nothing_but_the_core_calls_the_storage() -> None:
    """What is hidden stays hidden only as long as everybody else comes through `Resources`."""
    folder = Path(app.__file__).parent
    calls = re.compile(r"StorageAdapter|\b_?(adapter|storage)\.[a-z_]+\(")
    callers = {
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*.py")
        if calls.search(file.read_text())
    }

    reading = {"changes", "intents", "member_elements", "references", "representation", "resources"}
    reading |= {"search", "view"}
    writing = {"adoption", "attempts", "commit", "decisions", "import_commit"}
    core = {f"protocol/{name}.py" for name in reading | writing}
    # These open the storage, prepare it, let it mend itself and give its connections back.
    wiring = {f"wiring/{name}.py" for name in ("base", "delivery", "guarding", "pieces", "state")}
    named = ("adopt", "audit", "check", "explain", "opening", "owner", "token")
    commands = {f"commands/{name}.py" for name in named}
    assert callers - core == {"cli.py", *commands, *wiring}
