"""The commands of `scim` that have a module of their own; `app.cli` joins them.

Only `app.cli` imports this package.
"""
