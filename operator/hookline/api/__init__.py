"""The edge of the API: what people write becomes a ``Subscription`` or a ``Replay``.

In: an object as the API server stores it. Out: the value for the controller, or all that is wrong with it, field by
field. Pure. The way back, facts to conditions, is the status room's.
"""
