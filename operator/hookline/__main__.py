"""``python -m hookline`` is the console script ``hookline``."""

import sys

from hookline.cli.main import main

sys.exit(main())
