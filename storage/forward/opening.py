"""From settings to the adapter of an upstream."""

from storage.forward.adapter import ForwardAdapter
from storage.forward.options import Options


def open_adapter(options: Options) -> ForwardAdapter:
    """Return the adapter for the upstream, without connecting to it."""
    return ForwardAdapter(
        options.forward_scim_url, options.key, options.remote_timeout, options.remote_pool_size
    )
