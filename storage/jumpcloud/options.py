"""The settings of JumpCloud."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from storage import option_types as types
from storage.options import StorageOptions, secret, setting
from storage.shared_options import Foreign, Remote


@dataclass(frozen=True)
class Options(Foreign, Remote, StorageOptions):
    """JumpCloud"""

    address: ClassVar[str] = "jumpcloud_url"
    precedence: ClassVar[int] = 4

    jumpcloud_url: str = setting(
        "",
        types.base_url,
        "The URL of JumpCloud, such as `https://console.jumpcloud.com`.",
        "The setting selects this backend.",
    )
    jumpcloud_key: str = secret(
        "", types.printable, "The API key of JumpCloud.", "Without it, `JUMPCLOUD_URL` stops the start."
    )
    jumpcloud_org_id: str = setting(
        "", types.printable, "The organisation, if the API key belongs to several organisations."
    )

    def problems(self) -> Sequence[str]:
        if self.jumpcloud_url and not self.jumpcloud_key:
            return ["JUMPCLOUD_KEY: is required with JUMPCLOUD_URL"]
        return ()
