"""A storage backend: resources in one file of JSON lines, for any number of processes of one machine."""
