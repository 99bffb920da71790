"""`python -m tools.recording`."""

import sys

from tools.recording.record import main

sys.exit(main())
