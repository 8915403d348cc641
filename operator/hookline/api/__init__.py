"""The edge of the API: what people write becomes a ``Subscription``.

In: a ``WebhookSubscription`` as the API server stores it. Out: a ``Subscription`` for the controller, or all that is
wrong with it, field by field. Pure. The way back, facts to conditions, is the status room's.
"""
