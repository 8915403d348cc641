"""Room 1, the watch: what changed in the cluster, seen once each and in order.

In: the scopes that subscriptions want, lists and watch streams of the API server, the store's last-seen index.
Out: ``Change`` values to the sink that the app supplies (match and render), whose messages are committed to the store
together with the last-seen index and the checkpoint.

``manager`` shares informers between subscriptions, ``informer`` is one list+watch, ``detect`` the pure comparison,
``projection`` the stored form of a last-seen object, ``wire`` decodes what the API server sends, ``skim`` reads what a
JSON parser refuses, ``pace`` says how long to wait, ``condition`` whether a watch fails, ``discovery`` finds resources,
``namespaces`` knows their labels.
"""
