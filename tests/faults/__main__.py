"""Prints the page of the fault catalogue."""

import sys

from tests.faults.page import page

sys.stdout.write(page())
