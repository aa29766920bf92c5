"""The settings of an upstream SCIM service provider."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from storage import option_types as types
from storage.options import StorageOptions, secret, setting
from storage.shared_options import ClientKeys, Remote


@dataclass(frozen=True)
class Options(ClientKeys, Remote, StorageOptions):
    """Forward to another SCIM service provider"""

    address: ClassVar[str] = "forward_scim_url"
    precedence: ClassVar[int] = 5

    forward_scim_url: str = setting(
        "",
        types.base_url,
        "The URL of the upstream: the SCIM service provider that stores the resources.",
        "The setting selects this backend.",
        also=("SCIM_FORWARD_URL",),
    )
    forward_scim_key: str = secret(
        "",
        types.header_text,
        "The bearer token that the server sends to the upstream.",
        shown="the first key of `API_KEY`",
        also=("SCIM_FORWARD_KEY",),
    )

    def cautions(self) -> Sequence[str]:
        if self.forward_scim_key or not self.api_key:
            return ()
        first = "the first of several keys in API_KEY" if len(self.api_key) > 1 else "API_KEY"
        return [
            f"FORWARD_SCIM_KEY: is not set, so the credential for the upstream is {first}:"
            " it changes when that key changes"
        ]

    @property
    def key(self) -> str:
        """The bearer token for the upstream."""
        return self.forward_scim_key or next(iter(self.api_key), "")
