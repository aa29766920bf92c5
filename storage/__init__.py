"""Where resources live: the storage contract and its adapters. Start at `storage.adapter`."""
