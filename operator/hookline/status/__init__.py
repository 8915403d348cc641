"""Room 7, status: facts become the status of the object, written sparingly.

In: findings of the controller, attempts of the deliver room, drops, watches, counts of the outbox. Out: merge patches
of ``/status``, at most one per subscription and interval, none without a change.

``facts`` collects, ``health`` decides when an endpoint is given up, ``conditions`` merges, ``report`` turns facts into
a status (all pure), ``writer`` patches, and posts the Events that ``events`` words.
"""
