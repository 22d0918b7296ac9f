"""`python -m outlive.probe FOLDER`."""

import sys

from outlive.probe.monitor import main

sys.exit(main())
