"""Room 3, render: a change that matched becomes the exact bytes to send.

In: a ``Change``, its bindings, the subscription's sequence number. Out: a ``Message``; the next step is the outbox.
Pure: the same input gives the same bytes.

``identity`` makes the ``webhook-id``, ``content`` what is said of the object, ``renderer`` the envelope around it.
"""
