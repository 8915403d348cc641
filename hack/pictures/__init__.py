"""Pictures of the dashboard, from a real run: ``scene`` plays it, ``asked`` asks Prometheus, ``drawing`` draws."""
