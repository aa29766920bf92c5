"""What the server shows of people outside of its storage: nothing, unless LOG_VALUES says so.

docs/reference/personal-data.md is the table.
"""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from app.wiring.log_lines import JsonLines, TextLines
from telemetry.lines import Values
from telemetry.metrics import exposition
from tests.app.conftest import Spans
from tests.conftest import USER, ScimClient
from tests.events import BULK, PATCH_OP
from tests.receivers import HttpReceiver

PERSON = {
    "userName": "planted.user@example.org",
    "externalId": "planted-external-id",
    "displayName": "Planted Display",
    "nickName": "planted-nick",
    "password": "Planted-t1meMa$heen",
    "name": {"givenName": "Plantedgiven", "familyName": "Plantedfamily"},
    "emails": [{"value": "planted.mail@example.org", "type": "work"}],
    "phoneNumbers": [{"value": "tel:+31-20-planted", "type": "work"}],
}
# The loggers of this program; those of drivers write warnings only.
OURS = {"app", "scim", "schema", "set_delivery", "storage", "telemetry"}


def everything(scim: ScimClient) -> None:
    """Do with a person what clients do, mistakes included."""

    def patch(op: str, path: str, value: Any) -> dict[str, Any]:
        return {"schemas": [PATCH_OP], "Operations": [{"op": op, "path": path, "value": value}]}

    person = scim("POST", "/Users", {"schemas": [USER], **PERSON}).json
    where = person["meta"]["location"]
    group = scim.group("Planted Group", person["id"])["meta"]["location"]
    scim("POST", "/Users", {"schemas": [USER], **PERSON})
    scim("POST", "/Users", {"schemas": [USER], **PERSON, "active": "planted"})
    scim("PUT", where, {"schemas": [USER], **PERSON, "nickName": "planted-other"})
    scim("PATCH", where, patch("Replace", "emails[type eq \"planted\"].value", "planted@example.org"))
    scim("PATCH", where, patch("replace", "shoes", "planted"))
    scim("PATCH", group, patch("add", "members", [{"value": "planted-nobody"}]))
    for text in ('userName eq "planted"', 'emails.value co "planted"', 'nonsense "planted', 'nickName pr'):
        scim("GET", "/Users", query_string={"filter": text})
        scim("POST", "/Users/.search", {"filter": text})
    scim("GET", "/Users/planted@example.org")
    scim("GET", "/planted/planted@example.org")
    scim("GET", "/Users?attributes=planted&cursor=planted", headers={"If-None-Match": "planted"})
    operation = {"method": "POST", "path": "/Users", "bulkId": "planted", "data": {"userName": "planted"}}
    scim("POST", "/Bulk", {"schemas": [BULK], "Operations": [operation]})
    scim("POST", "/Users", {"schemas": [USER], "userName": "planted2"}, headers={"Prefer": "respond-async"})
    scim("POST", "/Users", headers={"Authorization": "Bearer planted"})
    scim.work()
    scim("DELETE", group)
    scim("DELETE", where)
    scim.work()


def test_nothing_of_a_person_is_in_the_log_the_metrics_and_the_traces(
    make_scim: Callable[..., ScimClient],
    receiver: HttpReceiver,
    caplog: pytest.LogCaptureFixture,
    spans: Spans,
) -> None:
    caplog.set_level(logging.DEBUG)
    scim = make_scim(
        SET_PUSH_URL=receiver.url, ASYNC_REQUEST="request", EMBEDDED_WORKER="false", SET_POLL_ENABLED="true"
    )

    everything(scim)

    assert len(receiver.attempts) > 3
    ours = [one for one in caplog.records if one.name.partition(".")[0] in OURS]
    lines = [kind.format(one) for one in ours for kind in (TextLines(), JsonLines())]
    traces = [one.to_json() for one in spans.all()]
    figures = (exposition() + scim("GET", "/metrics").data).decode().splitlines()
    assert min(len(lines), len(traces), len(figures)) > 40
    for shown in (lines, traces, figures):
        assert [one for one in shown if "planted" in one.lower()] == []


def test_log_values_show_the_path(
    scim: ScimClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(Values, "are_shown", True)

    scim("GET", "/Users/a b@example.org")

    (record,) = [one for one in caplog.records if one.name == "scim.request"]
    assert TextLines().format(record).endswith(' path="/Users/a b@example.org"')
