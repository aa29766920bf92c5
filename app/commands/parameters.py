"""Reading the values of options; each function raises click.BadParameter."""

import re
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import ip_network
from typing import Final

import click

from app.auth.limits import rate_text
from app.auth.token_table import Network
from app.protocol.profiles import UnknownProfile, profile_text

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def name(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Return the name of a token."""
    if _NAME.fullmatch(value) is None:
        raise click.BadParameter(
            f"{value} is not a name: up to 64 letters, digits, dots, hyphens and underscores, of which the "
            "first is a letter or a digit"
        )
    return value


def profile(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return the text of a profile."""
    try:
        return None if value is None else profile_text(value)
    except UnknownProfile as exc:
        raise click.BadParameter(str(exc)) from exc


def rate(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return the text of a rate."""
    try:
        return None if value is None else rate_text(value)
    except ValueError as exc:
        raise click.BadParameter(f"{value} {exc}") from exc


def span(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Return a span in milliseconds."""
    if value is None:
        return None
    found = re.fullmatch("([0-9]{1,5})([mhdw])", value)
    if found is None:
        raise click.BadParameter(f"{value} is not a span such as 30m, 12h, 90d or 4w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) // timedelta(milliseconds=1)


def lasting_span(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Return a span in milliseconds that is longer than 0."""
    length = span(context, parameter, value)
    if length == 0:
        raise click.BadParameter(f"{value} is no time at all: the token would be expired already")
    return length


def networks(
    context: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> tuple[Network, ...]:
    """Return networks, which one value separates by commas."""
    texts = [text.strip() for value in values for text in value.split(",") if text.strip()]
    if values and not texts:
        raise click.BadParameter("no network is given: the token would be valid from everywhere")
    try:
        return tuple(map(ip_network, texts))
    except ValueError as exc:
        raise click.BadParameter(f"{exc}: a network is such as 192.0.2.0/24 or 2001:db8::/32") from exc
