"""What ``hookline new`` asks, checks and writes.

``prompt`` talks to the terminal, ``checks`` (and ``selector``) hold each answer against the product's own rules,
``wizard`` asks in order, ``examples`` has filters and chat messages to start from. ``manifest`` makes the objects and
the roles that they need, ``validation`` holds them against the API server, ``written`` makes YAML of them, ``applying``
hands them to the API server.
"""
