"""One base, put together from its settings: storage, operations, events and the work beside requests.

A module belongs here when it joins other packages, or knows which drivers are installed. The packages
above import it: `app.cli`, the commands, `app.server`, `app.create_app` and `app.edge`.
"""
