"""The one error of the control plane tool; its message says what is wrong, where, and what to do."""

from __future__ import annotations


class ControlPlaneError(Exception):
    """The control plane can't be built, started, reached or stopped as asked."""
