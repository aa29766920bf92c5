"""The settings: their declarations, and the way from the environment to their values.

`settings.py` is the only module that reads the environment. This package imports only `app.protocol`, for
messages. `app.protocol` and `app.work` are given values, and do not import it; the other packages may.
"""
