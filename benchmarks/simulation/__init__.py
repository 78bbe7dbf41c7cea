"""A discrete-event simulation of receiving and handling, fed with measured costs.

    python -m benchmarks.simulation validate
    python -m benchmarks.simulation extrapolate

``python -m benchmarks.costs`` measures what it is fed with: CPU time, counts, bytes, and how long
the disk takes. No rate and no latency of ours is among them, so whatever rate comes out is
predicted.
"""
