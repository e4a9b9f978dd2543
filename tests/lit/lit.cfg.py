"""lit configuration: `lit tests/lit` runs every .mlir under here with the commands of the project's environment."""

import os
import sys
from pathlib import Path

import lit.formats

config.name = "escc"  # noqa: F821
config.suffixes = [".mlir", ".test"]  # noqa: F821
config.test_format = lit.formats.ShTest(execute_external=False)  # noqa: F821
config.test_source_root = str(Path(__file__).parent)  # noqa: F821
config.test_exec_root = str(Path(__file__).parents[2] / ".lit-output")  # noqa: F821
# The commands that stand beside the interpreter running lit come first, so that no activation is needed.
config.environment["PATH"] = os.pathsep.join(  # noqa: F821
    [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
)
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    config.environment[variable] = "1"  # noqa: F821
