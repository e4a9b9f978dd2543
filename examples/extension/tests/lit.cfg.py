"""lit configuration: `lit tests` in this folder, with escc and this package installed."""

import os
from pathlib import Path

import lit.formats

config.name = "escc-prune"  # noqa: F821  (lit provides `config`)
config.test_format = lit.formats.ShTest()  # noqa: F821
config.suffixes = [".mlir"]  # noqa: F821
config.test_source_root = str(Path(__file__).parent)  # noqa: F821
config.test_exec_root = os.environ.get("LIT_OUTPUT", config.test_source_root)  # noqa: F821
config.environment.update({k: os.environ[k] for k in ("PATH", "PYTHONPATH") if k in os.environ})  # noqa: F821
