"""For the other side: with which a receiver checks that a request is Hookline's and fresh, and handles it only once.

It needs nothing of the sender's rooms. As a library: ``verifier`` checks signatures and timestamps, ``jwks`` reads
public keys, ``once`` (with ``once_sqlite`` and ``once_postgres``) remembers ids, ``asgi`` guards an application.
As a server: ``config`` reads ``receive.yaml``, ``server`` listens, ``insert``, ``script``, ``mail``, ``forward`` act.
"""
