"""It says how it is: Prometheus metrics, structured logs, liveness and readiness.

In: facts from all rooms, by plain method calls that ``hookline.app`` wires. Out: ``/metrics``, ``/healthz``,
``/readyz`` and log lines.
"""
