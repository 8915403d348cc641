"""The operator's own API: people read what became of their deliveries (``kubectl hookline deliveries``).

In: HTTP requests with a bearer token, what the API server says of that token (TokenReview) and of its owner's rights
(SubjectAccessReview), and the outbox, for reading. Out: deliveries as JSON, one page, one with its content, or a stream
of what changes. Nothing is ever changed from here.

``server`` answers a request from the first to the last step; ``tokens`` and ``rights`` are the two questions to the API
server, bounded by ``limits``; ``asked`` reads path and query, ``shapes`` writes JSON; ``browse`` reads the outbox,
``follow`` tells what changes; ``answers`` sends, ``listen`` has the socket, TLS and what slow clients may take.
"""
