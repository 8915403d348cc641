"""The fixtures of the whole; see ``support.whole``."""

from support.whole import config_map, make_operator, operator, receiver, subscriptions

__all__ = ["config_map", "make_operator", "operator", "receiver", "subscriptions"]
