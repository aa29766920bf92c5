"""From settings to the adapter of JumpCloud."""

from storage.foreign_entries import ForeignEntries
from storage.jumpcloud.adapter import JumpcloudAdapter
from storage.jumpcloud.client import Client
from storage.jumpcloud.options import Options


def open_adapter(options: Options) -> JumpcloudAdapter:
    """Return an adapter on the organisation that the key belongs to, without connecting to it.

    A call of the API ends within `remote_timeout` seconds, its repetitions included. Raises ValueError for
    a URL or a key that cannot be used.
    """
    client = Client(
        options.jumpcloud_url,
        options.jumpcloud_key,
        options.jumpcloud_org_id,
        options.remote_timeout,
        options.remote_pool_size,
    )
    return JumpcloudAdapter(client, ForeignEntries(options.foreign_entries))
