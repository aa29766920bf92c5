"""The settings of MongoDB."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from storage.options import StorageOptions, pool_size, secret
from storage.shared_options import Indexes, Names


def mongo_url(value: str) -> str:
    """a URL that begins with `mongodb://` or `mongodb+srv://`"""
    if not re.match(r"mongodb(\+srv)?://[^/]", value):
        raise ValueError("must be a URL such as mongodb://user:password@host/database")
    return value


@dataclass(frozen=True)
class Options(Names, Indexes, StorageOptions):
    """MongoDB"""

    address: ClassVar[str] = "mongo_db"
    precedence: ClassVar[int] = 2
    drivers: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"mongoengine": "mongodb", "pymongo": "mongodb", "bson": "mongodb"}
    )

    mongo_db: str = secret(
        "",
        mongo_url,
        "The URL of MongoDB, such as `mongodb://user:password@host/database`.",
        "The setting selects this backend.",
    )
    mongo_pool_size: int = pool_size("MongoDB", 10)
