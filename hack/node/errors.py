"""What can go wrong with a node."""


class NodeError(Exception):
    """There is no node, or it does not do what was asked; the message says why and what to do."""
