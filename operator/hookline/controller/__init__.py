"""The controller: keeps what Hookline does equal to what people declared. Thin, level-based, for our own kinds only.

In: ``WebhookSubscription`` and ``WebhookReplay`` objects, through kopf and a periodic list. Out: ``Applier`` calls
(watch this, send there, report that), which ``hookline.app`` passes on to watch, match, render, deliver and status.

``listener`` runs kopf in a thread of its own, ``reconciler`` decides, ``secrets`` reads and makes Secrets, ``polled``
sees when one changes, ``credentials`` looks up authentication and certificates, ``target`` puts the destination
together, ``replays`` has stored messages sent again.
"""
