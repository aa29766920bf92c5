"""Our own server made to behave as other service providers do."""

import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

Answer = tuple[str, dict[str, str], Any]
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
Quirk = Callable[[Application], Application]


def changed(change: Callable[[dict[str, Any], Answer], Answer]) -> Quirk:
    """Return the quirk of changing answers: status, headers and JSON."""

    def around(app: Application) -> Application:
        def served(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            seen: list[Any] = []
            body = b"".join(app(environ, lambda status, headers, exc=None: seen.extend((status, headers))))
            document = orjson.loads(body) if body else None
            status, headers, document = change(environ, (seen[0], dict(seen[1]), document))
            text = b"" if document is None else orjson.dumps(document)
            kept = {name: value for name, value in headers.items() if name.lower() != "content-length"}
            start_response(status, [*kept.items(), ("Content-Length", str(len(text)))])
            return [text]

        return served

    return around


def refusing(methods: str, status: str, path: str = "", **error: str) -> Quirk:
    """Return the quirk of not knowing methods, at paths that contain `path`."""

    def around(app: Application) -> Application:
        def served(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            if environ["REQUEST_METHOD"] not in methods.split() or path not in environ["PATH_INFO"]:
                return app(environ, start_response)
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            text = orjson.dumps(error)
            headers = [("Content-Type", "application/json"), ("Content-Length", str(len(text)))]
            start_response(status, headers)
            return [text]

        return served

    return around


def without(*names: str, **instead: str) -> Quirk:
    """Return the quirk of passing over query parameters, or of having one's own values for them."""

    def around(app: Application) -> Application:
        def served(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            query = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
            query = {name: instead.get(name, value) for name, value in query.items() if name not in names}
            return app({**environ, "QUERY_STRING": urlencode(query)}, start_response)

        return served

    return around


def by_cursor(startIndex: bool = False) -> Quirk:
    """Return the quirk of paging by cursor only: a `startIndex` is passed over, or refused."""

    def around(app: Application) -> Application:
        def served(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            query = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
            is_list = environ["PATH_INFO"].strip("/") in ("Users", "Groups")
            if environ["REQUEST_METHOD"] != "GET" or not is_list:
                return app(environ, start_response)
            if query.pop("startIndex", None) and not startIndex:
                return refusing("GET", "400 Bad Request", scimType="invalidValue")(app)(
                    environ, start_response
                )
            query.setdefault("cursor", "")
            return app({**environ, "QUERY_STRING": urlencode(query)}, start_response)

        return served

    return around


def saying(**pagination: Any) -> Callable[[dict[str, Any], Answer], Answer]:
    """Return the change of what the configuration says about pagination; nothing removes it."""

    def changing(environ: dict[str, Any], answer: Answer) -> Answer:
        status, headers, document = answer
        if "pagination" in (document or {}):
            document["pagination"] |= pagination
            if not pagination:
                del document["pagination"]
        return status, headers, document

    return changing


def only_cursors(app: Application) -> Application:
    """Page by cursor, say so, and refuse anything else."""
    return changed(saying(index=False))(by_cursor()(app))


def cursors_unasked_for(app: Application) -> Application:
    """Page by cursor whatever is asked for, and say nothing of it."""
    return changed(saying())(by_cursor(startIndex=True)(app))


def cursors_without_totals(app: Application) -> Application:
    """Page by cursor, and count nothing."""

    def uncounted(environ: dict[str, Any], answer: Answer) -> Answer:
        (answer[2] or {}).pop("totalResults", None)
        return answer

    return changed(uncounted)(only_cursors(app))


def filterless(app: Application) -> Application:
    """Refuse every filter."""

    def served(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        query = dict(parse_qsl(environ["QUERY_STRING"]))
        if "filter" in query:
            environ = {**environ, "QUERY_STRING": urlencode({**query, "filter": "(((("})}
        return app(environ, start_response)

    return served


def each_resource(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any], Answer], Answer]:
    """Return a change of every resource in an answer."""

    def changing(environ: dict[str, Any], answer: Answer) -> Answer:
        status, headers, document = answer
        listed = (document or {}).get("Resources", [document])
        for resource in listed:
            if isinstance(resource, dict) and "meta" in resource and "id" in resource:
                change(resource)
        return status, headers, document

    return changing


def bare_tags(environ: dict[str, Any], answer: Answer) -> Answer:
    """Write entity-tags without quotes."""
    status, headers, document = answer
    if "ETag" in headers:
        headers["ETag"] = headers["ETag"].removeprefix("W/").strip('"')
    change = each_resource(lambda r: r["meta"].update(version=r["meta"]["version"][3:-1]))
    return change(environ, (status, headers, document))


def tagless(environ: dict[str, Any], answer: Answer) -> Answer:
    """Have no versions."""
    status, headers, document = answer
    headers.pop("ETag", None)
    return each_resource(lambda resource: resource["meta"].pop("version", None))(
        environ, (status, headers, document)
    )


def taciturn(environ: dict[str, Any], answer: Answer) -> Answer:
    """Answer a change with 204, and a creation with the location only."""
    status, headers, document = answer
    if environ["REQUEST_METHOD"] in ("PUT", "PATCH") and status.startswith("200"):
        return "204 No Content", {}, None
    if environ["REQUEST_METHOD"] == "POST" and status.startswith("201"):
        return status, {"Location": headers["Location"]}, None
    return answer


def at_most(limit: int, refused: Callable[[], str] = lambda: "") -> Quirk:
    """Return the quirk of AWS IAM Identity Center: 400 for too many changes of members in one request.

    It does not say why. A request that has the text `refused` is not taken either, at any size.
    """

    def changes(body: dict[str, Any]) -> int:
        operations = body.get("Operations", [{"value": body.get("members", [])}])
        values = [operation.get("value") for operation in operations if isinstance(operation, dict)]
        return sum(len(value) if isinstance(value, list) else 1 for value in values)

    def around(app: Application) -> Application:
        def served(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            is_write = environ["REQUEST_METHOD"] in ("POST", "PUT", "PATCH")
            if not is_write or "/Groups" not in environ["PATH_INFO"]:
                return app(environ, start_response)
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = io.BytesIO(body)
            if changes(orjson.loads(body)) <= limit and (not refused() or refused().encode() not in body):
                return app(environ, start_response)
            detail = "Request is unparsable, syntactically incorrect, or violates schema."
            return refusing("POST PUT PATCH", "400 Bad Request", detail=detail)(app)(environ, start_response)

        return served

    return around


def hiding_members(environ: dict[str, Any], answer: Answer) -> Answer:
    """Show every group without members."""
    document = answer[2] or {}
    for resource in document.get("Resources", [document]):
        if "members" in resource:
            resource["members"] = []
    return answer


def plain_json(environ: dict[str, Any], answer: Answer) -> Answer:
    """Call SCIM plain JSON."""
    status, headers, document = answer
    return status, {**headers, "Content-Type": "application/json"}, document


def _verbose(resource: dict[str, Any]) -> None:
    names = [name for name in resource if name not in ("id", "meta", "schemas", "groups")]
    for name in names:
        resource[name.upper()] = resource.pop(name)
    resource |= {"nickName": resource.pop("NICKNAME", None), "costCentre": "7", "urn:x:y": {"a": [1]}}
    resource["phoneNumbers"] = resource.pop("PHONENUMBERS", "none")


QUIRKS: Mapping[str, Quirk] = {
    "no PUT": refusing("PUT", "405 Method Not Allowed"),
    "no PATCH": refusing("PATCH", "501 Not Implemented"),
    "no filter": filterless,
    "filters are ignored": without("filter"),
    "small pages": without(count="2"),
    "no paging": without("count", "startIndex"),
    "order is ignored": without("sortBy", "sortOrder"),
    "projections are ignored": without("attributes", "excludedAttributes"),
    "no configuration": refusing("GET", "404 Not Found", "/ServiceProviderConfig"),
    "no search by POST": refusing("POST", "404 Not Found", "/.search"),
    "bare entity-tags": changed(bare_tags),
    "no versions": changed(tagless),
    "few words": changed(taciturn),
    "plain JSON": changed(plain_json),
    "other names and more": changed(each_resource(_verbose)),
    "only cursors": lambda app: only_cursors(without(count="2")(app)),
    "cursors unasked for": lambda app: cursors_unasked_for(without(count="2")(app)),
    "cursors without totals": lambda app: cursors_without_totals(without(count="2")(app)),
    "no groups of users": changed(each_resource(lambda resource: resource.pop("groups", None))),
}
