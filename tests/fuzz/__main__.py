"""`python tests/fuzz`: run campaigns for some time, or replay files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    tests = str(Path(__file__).resolve().parents[1])
    sys.path[0:1] = [tests]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (tests, os.environ.get("PYTHONPATH"))))  # of the workers
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    from fuzz.run import main

    raise SystemExit(main())
