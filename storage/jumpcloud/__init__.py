"""Resources in JumpCloud: its users and its user groups, through its REST API."""

from storage.jumpcloud.adapter import JumpcloudAdapter
from storage.jumpcloud.client import Client


def open_adapter(
    url: str, key: str, organisation: str = "", timeout_s: float = 10.0, pool_size: int = 10
) -> JumpcloudAdapter:
    """Return an adapter on the organisation that `key` belongs to, without connecting to it.

    `organisation` is the id to send for an administrator of several. A call of the API ends within
    `timeout_s` seconds, its repetitions included. Raises ValueError for an unusable URL or key.
    """
    return JumpcloudAdapter(Client(url, key, organisation, timeout_s, pool_size))
