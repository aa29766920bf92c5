"""The kinds of credentials that a base accepts, put together from its settings."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from app.auth.api_keys import ApiKeys
from app.auth.known import Chain, Credentials
from app.auth.limits import ConfigurationError, RequestLimits
from app.auth.schemes import ACCESS_TOKENS, API_KEYS, NAMED_TOKENS
from app.auth.token_table import NewToken, TokenTable
from app.auth.tokens import NamedTokens, principal_of
from app.auth.uses import Uses
from app.configuration.settings import BaseSettings, SettingsError
from app.protocol.audit_log import AuditLog
from app.protocol.context import SCOPES, Principal
from app.protocol.errors import Refusal
from app.protocol.resources import Resources
from app.wiring.access_tokens import open_access_tokens
from app.wiring.drivers import how_to_install
from set_delivery.database import StateDatabase
from storage.shared_options import DEFAULT_API_KEY

_LOG = logging.getLogger(__name__)

NO_TOKENS: Final = "named tokens need a state database: set STATE_DATABASE_URL"
_FIRST: Final = "first"


@dataclass(frozen=True)
class AcceptedCredentials:
    """What clients may come with.

    `tokens` is None where there is no state database for named tokens. `schemes` are the
    authenticationSchemes of the ServiceProviderConfig (RFC 7643 section 5).
    """

    chain: Chain
    tokens: TokenTable | None
    schemes: Sequence[dict[str, Any]]
    has_default_key: bool

    def principal_now(self, principal: Principal) -> Principal:
        """Return the principal of an accepted request when it is carried out.

        A named token counts as it is now. The server carries out what it accepted from a client whose
        API key was removed, or whose token expired since. Raises Refusal 403 for a revoked token.
        """
        if principal.kind != "token":
            return principal
        token = self.tokens.current(principal.id) if self.tokens is not None else None
        if token is None:
            raise Refusal(403, f"the token {principal.name} was revoked before the request was carried out")
        return replace(principal_of(token), credential=principal.credential)


def open_credentials(
    settings: BaseSettings, database: StateDatabase | None, resources: Resources, audit: AuditLog
) -> AcceptedCredentials:
    """Return the credentials of a base, with the first token stored; `database` has the named tokens.

    `resources` has the users that clients with access tokens act for. Changes of tokens are rows of `audit`.

    Raises SettingsError for FIRST_TOKEN without a state database, and StorageError.
    """
    kinds: list[Credentials] = []
    schemes: list[Mapping[str, str]] = []
    api_keys = settings.api_key if settings.api_key_enabled else ()
    if api_keys:
        kinds.append(ApiKeys(api_keys, settings.profile))
        schemes.append(API_KEYS)
    tokens = TokenTable(database, audit) if database is not None else None
    if tokens is not None and database is not None:
        kinds.append(NamedTokens(tokens, Uses(tokens.write_uses, database.close)))
        schemes.append(NAMED_TOKENS)
    if settings.first_token:
        _store_first(settings, database, tokens)
    access_tokens = open_access_tokens(settings, resources)
    if access_tokens is not None:
        # The last kind: an API key may look like an access token.
        kinds.append(access_tokens)
        schemes.append(ACCESS_TOKENS)
    shown = [{**scheme, "primary": number == 0} for number, scheme in enumerate(schemes)]
    return AcceptedCredentials(Chain(kinds), tokens, shown, DEFAULT_API_KEY in api_keys)


def open_limits(settings: BaseSettings) -> RequestLimits:
    """Return how often clients may ask. Raises SettingsError without the driver for RATE_LIMIT_URL."""
    try:
        return RequestLimits(settings.rate_limit, settings.auth_failure_limit, settings.rate_limit_url)
    except ConfigurationError as exc:
        raise SettingsError([f"RATE_LIMIT_URL: {how_to_install('redis')}"]) from exc


def _store_first(
    settings: BaseSettings, database: StateDatabase | None, tokens: TokenTable | None
) -> None:
    if database is None or tokens is None:
        raise SettingsError([f"FIRST_TOKEN: {NO_TOKENS}"])
    new = NewToken(_FIRST, SCOPES, settings.profile)
    try:
        if tokens.create_first(new, settings.first_token):
            _LOG.info("FIRST_TOKEN is stored as the token %s", _FIRST)
    finally:
        # Connections do not survive a fork, and this may happen before one.
        database.close()
