"""The commands `scim token`: named tokens, for operators."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click
import orjson

from app.auth.token_table import Network, NewToken, NoToken, TakenName, Token, TokenTable
from app.auth.token_text import new_token
from app.commands import parameters
from app.commands.opening import opened_state
from app.configuration.settings import Settings
from app.protocol.context import SCOPES, TYPED_SCOPES, system
from app.protocol.profiles import profile_of
from app.wiring.audit import audit_log
from app.wiring.base import load_types, open_adapter, open_base
from app.wiring.credentials import NO_TOKENS
from set_delivery.change_line import shown_time
from set_delivery.clock import now_ms
from storage.errors import ResourceNotFound

_EXPIRES: Final = click.option(
    "--expires",
    callback=parameters.lasting_span,
    metavar="SPAN",
    help="The token expires after this span: 30m, 12h, 90d, 4w. Without the option, create makes a token"
    " that does not expire, and rotate changes nothing.",
)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def token() -> None:
    """Create, list, rotate and revoke named tokens for clients."""


@token.command()
@click.argument("name", callback=parameters.name)
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(sorted(SCOPES)),
    multiple=True,
    help="A scope of the token; the option can be repeated. The default is scim.read and scim.write.",
)
@click.option(
    "--resource-type",
    "resource_types",
    multiple=True,
    help="Limit scim.read and scim.write to a resource type, such as User; the option can be repeated.",
)
@_EXPIRES
@click.option(
    "--profile",
    callback=parameters.profile,
    metavar="PROFILE",
    help="The profile for requests with the token, such as entra, with switches such as"
    " entra,-json-strings. The default is the setting PROFILE.",
)
@click.option("--user", metavar="ID", help="The id of the User that /Me stands for.")
@click.option(
    "--own-only",
    is_flag=True,
    help="The client sees, finds and changes only the resources that it creates (SQL, flat files, MongoDB).",
)
@click.option(
    "--rate",
    callback=parameters.rate,
    metavar="RATE",
    help="How often the client may send requests: 25/s, 600/m. The default is the setting RATE_LIMIT.",
)
@click.option(
    "--from",
    "networks",
    callback=parameters.networks,
    multiple=True,
    metavar="CIDR,...",
    help="The networks from which the token is valid, such as 192.0.2.0/24. The default is every network.",
)
@_JSON
def create(
    name: str,
    scopes: tuple[str, ...],
    resource_types: tuple[str, ...],
    expires: int | None,
    profile: str | None,
    user: str | None,
    own_only: bool,
    rate: str | None,
    networks: tuple[Network, ...],
    as_json: bool,
) -> None:
    """Create a token and print it. This is the only time that it is shown: the server stores its SHA-256."""
    with _tokens() as (table, settings):
        _require_url(settings, profile)
        _require_user(settings, user)
        granted = _granted(settings, frozenset(scopes) or TYPED_SCOPES, resource_types)
        expires_at = None if expires is None else now_ms() + expires
        if own_only:
            _require_owners(settings, granted)
        chosen_profile = profile or settings.profile
        new = NewToken(name, granted, chosen_profile, user, networks, expires_at, own_only, rate)
        text = new_token()
        try:
            made = table.create(new, text)
        except TakenName:
            sys.exit(f"scim: a token has the name {name}: rotate or revoke it, or choose another name")
    _print_secret(made, text, as_json)


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per line.")
def list_tokens(as_json: bool) -> None:
    """List the tokens, also expired and revoked ones.

    The columns are separated by tabs: name, state, scopes, profile, user, networks, and the times in UTC of
    creation, expiry and last use. A value that is absent is -. The last use is written within 15 seconds.
    """
    with _tokens() as (table, _):
        tokens = table.tokens()
    for one in tokens:
        click.echo(orjson.dumps(_shown(one)).decode() if as_json else "\t".join(_columns(one)))


@token.command()
@click.argument("name")
@click.option(
    "--overlap",
    callback=parameters.span,
    default="1d",
    metavar="SPAN",
    help="The span in which the earlier secret stays valid (1d); 0m ends it at once.",
)
@_EXPIRES
@_JSON
def rotate(name: str, overlap: int, expires: int | None, as_json: bool) -> None:
    """Give the token NAME another secret and print it. The earlier one stays valid for a while.

    The client stays the same one: its cursors, asynchronous requests and name in the change log.
    """
    with _tokens() as (table, _):
        text, expires_at = new_token(), None if expires is None else now_ms() + expires
        try:
            rotated = table.rotate(name, text, overlap, expires_at)
        except NoToken:
            sys.exit(_no_token(name))
    if _state(rotated) == "expired":
        click.echo(f"scim: the token {name} has expired: add --expires", err=True)
    _print_secret(rotated, text, as_json)


@token.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Revoke the token NAME. Every process of the server refuses it within 5 seconds."""
    with _tokens() as (table, _):
        try:
            table.revoke(name)
        except NoToken:
            sys.exit(_no_token(name))
    click.echo(f"the token {name} is revoked")


@token.command()
def generate() -> None:
    """Print a token that no server knows, for the setting FIRST_TOKEN. The command reads no settings."""
    click.echo(new_token())


@contextmanager
def _tokens() -> Iterator[tuple[TokenTable, Settings]]:
    """Yield the tokens; the program ends where there is no state database for them."""
    with opened_state() as (state, settings):
        if not state.keeps_tokens:
            sys.exit(f"scim: {NO_TOKENS}")
        yield TokenTable(state.database, audit_log(state)), settings


def _granted(
    settings: Settings, scopes: frozenset[str], resource_types: Sequence[str]
) -> frozenset[str]:
    """Return the scopes of a token; the program ends for a resource type that nobody has."""
    if not resource_types:
        return scopes
    known = {one.name for one in load_types(settings).resource_types}
    for name in resource_types:
        if name not in known:
            sys.exit(f"scim: there is no resource type {name}: choose from {', '.join(sorted(known))}")
    if untyped := scopes - TYPED_SCOPES:
        sys.exit(f"scim: {', '.join(sorted(untyped))} cannot have a resource type: leave out --resource-type")
    return frozenset(f"{scope}:{name}" for scope in scopes for name in resource_types)


def _require_url(settings: Settings, profile: str | None) -> None:
    """Return if the server can make the locations that a profile asks for; the program ends otherwise."""
    if profile is not None and profile_of(profile).location_style == "absolute" and not settings.base_url:
        sys.exit("scim: --profile: absolute locations need BASE_URL")


def _require_user(settings: Settings, user: str | None) -> None:
    """Return if there is such a User, or none is asked for; the program ends otherwise."""
    if user is None:
        return
    base = open_base(settings)
    resource_type = base.registry.resource_type("User")
    if resource_type is None:
        sys.exit("scim: --user: there is no resource type User")
    try:
        base.resources.get(system(), resource_type, user)
    except ResourceNotFound:
        sys.exit(f"scim: --user: there is no User {user}")
    finally:
        base.adapter.close()


def _require_owners(settings: Settings, scopes: frozenset[str]) -> None:
    """Return if a token can be --own-only; the program ends otherwise."""
    for scope in ("scim.events", "scim.admin"):
        if scope in scopes:
            sys.exit(f"scim: --own-only: {scope} is about all resources: leave one of them out")
    if not open_adapter(settings, load_types(settings)).capabilities.owners:
        sys.exit(f"scim: --own-only: the storage {settings.backend[0]} keeps no owners")


def _no_token(name: str) -> str:
    return f"scim: there is no token {name} that is not revoked"


def _print_secret(one: Token, text: str, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(_shown(one) | {"token": text}).decode())
    else:
        click.echo(text)


def _state(one: Token) -> str:
    if one.revoked_at is not None:
        return "revoked"
    expires_at = one.chosen.expires_at
    return "expired" if expires_at is not None and expires_at <= now_ms() else "valid"


def _shown(one: Token) -> dict[str, Any]:
    chosen = one.chosen
    return {
        "name": chosen.name,
        "id": one.id,
        "state": _state(one),
        "scopes": sorted(chosen.scopes),
        "profile": chosen.profile,
        "user": chosen.user,
        "ownOnly": chosen.own_only,
        "rate": chosen.rate,
        "from": [str(network) for network in chosen.networks],
        "created": _time(one.made_at),
        "expires": _time(chosen.expires_at),
        "revoked": _time(one.revoked_at),
        "lastUse": _time(one.last_used_at),
        "secrets": [
            {
                "created": _time(secret.made_at),
                "ends": _time(secret.ends_at),
                "lastUse": _time(secret.last_used_at),
            }
            for secret in one.secrets
        ],
    }


def _columns(one: Token) -> Iterator[str]:
    shown = _shown(one)
    for name in ("name", "state", "scopes", "profile", "user", "from", "created", "expires", "lastUse"):
        value = shown[name]
        yield (",".join(value) if isinstance(value, list) else value) or "-"


def _time(at: int | None) -> str | None:
    return shown_time(at) if at is not None else None
