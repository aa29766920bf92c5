"""The work that follows requests: one registry of its pieces, and three drivers that do them.

A module belongs here when it decides when a piece of work runs; `app.wiring.pieces` says which there
are. Celery and kombu are imported only here. This package imports `app.protocol` only; the packages
above it import it.
"""
