"""What ``hookline explain`` finds out, with the code that the operator itself runs.

``served`` knows the resources of a cluster, ``subject`` the object and its former state, ``fields`` who sees it through
a field selector, ``steps`` what each test of a rule says, ``looking`` does this for one subscription, ``request`` makes
what would be sent, ``report`` shows it all. Only ``served``, ``subject`` and ``looking`` ask the API server.
"""
