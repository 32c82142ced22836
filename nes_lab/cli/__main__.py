"""Run the command line as ``python -m nes_lab.cli``."""

import sys

from nes_lab.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
