"""`python -m tests.release` prints docs/licences.md."""

from __future__ import annotations

import sys

from tests.release.licences import page

sys.stdout.write(page())
