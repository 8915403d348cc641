"""CEL, evaluated where it can do no harm: in child processes that are killed when they take too much.

In: expressions and the changes that they look at. Out: true or false, or JSON, or why there is none. Rooms use the
words of ``expression``; ``hookline.asked`` has the one ``Evaluator``.

``evaluator`` asks and says who is to blame, ``asking`` makes the portions, ``worker`` is one child as its parent sees
it, ``child`` the program that it runs. Nothing but the child ever loads CEL: even compiling a few hundred characters
can take gigabytes.
"""
