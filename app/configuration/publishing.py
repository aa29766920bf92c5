"""From the settings to who receives which events, and how they are signed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from set_delivery.streams import Publishing, Receiver
from set_delivery.tokens import SHARED, SigningKey, private_key, shared_key

if TYPE_CHECKING:
    from app.configuration.settings import BaseSettings


def make_publishing(settings: "BaseSettings") -> Publishing:
    """Return how events leave. Raises ValueError with a line for each thing that is wrong."""
    problems: list[str] = []
    keys = _keys(settings, problems)
    shared = _shared(settings, problems)
    key = keys[0] if keys else shared
    receivers = _receivers(settings, key, problems)
    if problems:
        raise ValueError("\n".join(problems))
    return Publishing(
        issuer=settings.set_issuer,
        audience=(settings.set_audience,) if settings.set_audience else (),
        mode=settings.event_mode,
        key=key,
        keys=tuple(keys),
        receivers=tuple(receivers),
        feeds=settings.set_feeds,
        groups_are_feeds=settings.set_group_as_feed,
        membership_events=settings.set_feeds_enabled,
        poll=settings.set_poll_enabled,
        feed_size=settings.set_poll_max_events,
        retention_s=settings.set_retention,
        refused_after_s=settings.set_refused_after,
        timeout_s=settings.set_push_timeout,
        feed_url=f"{_base(settings)}{settings.base_path}/Events/Feeds/",
        ignored_attributes=settings.event_ignored_attributes,
    )


def _base(settings: "BaseSettings") -> str:
    """Return the URL that feeds are under, empty when none is known.

    An installation that comes from HarryKodden/scim has no BASE_URL: there, SET_ISSUER is that URL.
    """
    issuer = settings.set_issuer
    if settings.base_url or not issuer.lower().startswith(("http://", "https://")):
        return settings.base_url
    return issuer.rstrip("/").removesuffix(settings.base_path)


def _keys(settings: "BaseSettings", problems: list[str]) -> list[SigningKey]:
    keys = []
    for path in settings.set_signing_key_files:
        try:
            keys.append(private_key(path.read_bytes(), settings.set_signing_algorithm))
        except OSError as exc:
            problems.append(f"SET_SIGNING_KEY_FILES: {path}: {exc.strerror}")
        except ValueError as exc:
            problems.append(f"SET_SIGNING_KEY_FILES: {path}: {exc}")
    return keys


def _shared(settings: "BaseSettings", problems: list[str]) -> SigningKey | None:
    secret, algorithm = settings.set_signing_secret, settings.set_signing_algorithm
    if settings.set_signing_key_files:
        return None
    if not secret:
        # Who has asked for signatures must not get SETs without any.
        if algorithm not in SHARED:
            problems.append(f"SET_SIGNING_ALGORITHM: {algorithm} needs SET_SIGNING_KEY_FILES")
        return None
    try:
        return shared_key(secret, algorithm)
    except ValueError as exc:
        problems.append(f"SET_SIGNING_ALGORITHM: {exc}")
        return None


def _receivers(
    settings: "BaseSettings", key: SigningKey | None, problems: list[str]
) -> list[Receiver]:
    receivers = []
    if settings.set_push_url:
        receivers.append(
            Receiver("push", settings.set_push_url, settings.set_push_token, key, settings.event_mode)
        )
    for position, described in enumerate(settings.set_receivers or ()):
        receivers.append(_receiver(described, key, settings.event_mode, position, problems))
    if settings.set_push_require_tls:
        problems += [
            f"SET_PUSH_REQUIRE_TLS: the URL of the receiver {receiver.name} is not https"
            for receiver in receivers
            if not receiver.url.lower().startswith("https://")
        ]
    problems += [
        f"SET_PUSH_TOKEN, SET_RECEIVERS: the token of the receiver {receiver.name} is not printable ASCII"
        for receiver in receivers
        if not (receiver.token.isascii() and receiver.token.isprintable())
    ]
    if len({receiver.name for receiver in receivers}) < len(receivers):
        problems.append("SET_RECEIVERS: the receiver of SET_PUSH_URL has the name push; choose another name")
    return receivers


def _receiver(
    described: Mapping[str, Any], key: SigningKey | None, mode: str, position: int, problems: list[str]
) -> Receiver:
    audience, own = described.get("audience"), key
    mode = described.get("mode", mode)
    for uri in described.get("event_uris", ()):
        if mode == "notice" and uri.endswith(":full"):
            problems.append(f"SET_RECEIVERS: [{position}].event_uris: {uri} needs the mode full")
    try:
        if "secret" in described:
            own = shared_key(described["secret"], described.get("algorithm", "HS256"))
        elif "key_file" in described:
            with open(described["key_file"], "rb") as file:
                own = private_key(file.read(), described.get("algorithm", "RS256"))
    except OSError as exc:
        problems.append(f"SET_RECEIVERS: [{position}].key_file: {described['key_file']}: {exc.strerror}")
    except ValueError as exc:
        problems.append(f"SET_RECEIVERS: [{position}]: {exc}")
    return Receiver(
        described["name"],
        described["url"],
        described.get("token", ""),
        own,
        mode,
        frozenset(described.get("feeds", ())),
        frozenset(described.get("event_uris", ())),
        (audience,) if audience else (),
    )
