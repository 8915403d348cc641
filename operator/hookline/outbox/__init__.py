"""Room 4, the outbox: the durable queue of messages, the only state that must not be lost.

In: ``WatchCommit`` from the watch (rows, last-seen index and checkpoint in one transaction).
Out: ``Claimed`` messages to the deliver room, whose verdicts come back through ``record``.

``store`` is the Protocol and its rules, ``sqlite`` the embedded backend, ``schedule`` the pure arithmetic of retries.
"""
