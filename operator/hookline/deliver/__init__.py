"""Room 5, delivery: one signed HTTPS request for each claimed message, and a verdict on what came of it.

In: ``Claimed`` messages from the outbox and ``Target`` values from the controller.
Out: ``Attempt`` values, recorded in the outbox and told to the status and observe rooms through ``on_attempt``.

``worker`` keeps the lanes (``lane``, with its ``breaker`` and ``bucket``; ``alarms`` wake them), ``attempt`` makes one
attempt, ``recorder`` writes the verdicts, ``client`` sends over the pools of ``transport``, ``sign`` signs, ``guard``
refuses forbidden destinations, ``dial`` opens connections to vetted addresses only, ``answers`` reads from them,
``verdict`` judges the answer. ``auth`` has the header that authenticates a request: from memory, or by ``tokens`` from
those who issue them (``issuers``); ``tls`` makes contexts for those who ask for their own.
"""
