"""The site of ``docs/``: what it is built with (``conf.py``), and the pages that are generated (``references.py``)."""
