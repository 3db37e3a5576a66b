"""`python -m aesop COMMAND`: the same as the command `aesop`."""

import sys

from aesop.cli import main

if __name__ == '__main__':
    sys.exit(main())
