"""Resources in MongoDB."""
