"""Measures what the simulation is fed with: CPU time, counts, bytes, and how long the disk takes.

    python -m benchmarks.costs --database postgres://postgres@127.0.0.1:5432/postgres

Writes ``benchmarks/simulation/costs.json``. Servers have to run on this machine, as their CPU time
is read from ``/proc``. What is measured keeps all cores busy, as in the runs that are simulated:
the same work takes more CPU time then.
"""
