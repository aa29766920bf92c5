"""Answers without a body say nothing of its type (RFC 9110 section 8.3)."""

from tests.conftest import ScimClient


def test_an_answer_without_a_body_has_no_content_type(scim: ScimClient) -> None:
    user = scim.user("anna")
    members = [scim.user(f"u{number}")["id"] for number in range(101)]
    group = scim.group("large", *members)
    path = f"/Users/{user['id']}"
    change = {"Operations": [{"op": "replace", "path": "displayName", "value": "larger"}]}
    change |= {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]}

    answers = [
        scim("GET", path, headers={"If-None-Match": scim("GET", path).headers["ETag"]}),
        scim("PATCH", f"/Groups/{group['id']}", change),
        scim("DELETE", path),
    ]

    assert [answer.status_code for answer in answers] == [304, 204, 204]
    assert ["Content-Type" in answer.headers for answer in answers] == [False] * 3
