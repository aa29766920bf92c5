"""The work that follows requests: one registry of its pieces, and three drivers that do them."""
