"""What the server shows of itself while it runs: metrics, and the request that a thread is busy with.

Every other package may count here; this one imports none of them. `catalogue.py` lists the metrics.
"""
