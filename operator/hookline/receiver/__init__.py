"""For the other side: a library with which a receiver checks that a request is Hookline's, and is fresh.

It needs nothing of the sender's rooms. ``verifier`` checks signatures and timestamps.
"""
