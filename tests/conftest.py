"""For every test: one torch thread, in this process and in those that it starts.

What is tested is small, and two threads wait for each other longer than they work; plugins' tests say the same.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
