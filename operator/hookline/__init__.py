"""Hookline: a Kubernetes operator that delivers signed webhooks when objects change.

The data flows one way, one room each:

    watch -> match -> render -> outbox -> deliver -> verdict -> status

``hookline.app`` joins the rooms; no room imports another.
"""

__version__ = "0.1.0"
