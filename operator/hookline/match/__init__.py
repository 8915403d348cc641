"""Room 2, match: which subscriptions want a change.

In: a ``Change`` of an informer. Out: the rules that may want it, and after their expressions were asked the uids of the
subscriptions that do; the next step is render. Pure: nothing here does I/O or looks at a clock.

``selectors`` evaluates label selectors, ``rule`` one source of one subscription, ``router`` all of them.
"""
