"""`python -m vidssl` is the command `vidssl`."""

import sys

from vidssl.cli import main

sys.exit(main())
