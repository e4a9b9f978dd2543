"""lit configuration: `lit tests/lit` runs every .mlir under here with the commands of this tree, installed or not."""

import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import lit.formats

ROOT = Path(__file__).resolve().parents[2]

config: Any = globals()["config"]  # lit puts it there

config.name = "escc"
config.suffixes = [".mlir", ".test"]
config.test_format = lit.formats.ShTest(execute_external=False)
config.test_source_root = str(Path(__file__).parent)
config.test_exec_root = str(ROOT / ".lit-output")
# The commands that stand beside the interpreter running lit come first, so that no activation is needed.
config.environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
# Our own commands are those of the tree: an installed package of another state would hide what is tested.
config.environment["PYTHONPATH"] = str(ROOT)
for command, entry in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].items():
    module = f"{sys.executable} -m {entry.partition(':')[0]}"
    config.substitutions.append((rf"(?<![\w/.-]){re.escape(command)}(?![\w/.-])", module))
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    config.environment[variable] = "1"
