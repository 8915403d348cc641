"""The command line: ``hookline run`` and its siblings. Thin: arguments in, exit code out."""
