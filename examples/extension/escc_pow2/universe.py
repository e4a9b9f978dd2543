"""What xDSL's entry point group `xdsl.universe` loads."""

from __future__ import annotations

from xdsl.ir import Dialect
from xdsl.universe import Universe


def _pow2() -> Dialect:
    from escc_pow2.dialect import Pow2

    return Pow2


POW2_UNIVERSE = Universe(all_dialects={"pow2": _pow2})
