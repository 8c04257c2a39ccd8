"""``python -m coarsegrad`` is ``coarsegrad``."""

import sys

from coarsegrad.cli import main

sys.exit(main())
