"""Users and groups in an iRODS zone."""
