"""Run ``python -m t2lib.cli`` as the command ``t2``."""

import sys

from t2lib.cli import main

sys.exit(main())
