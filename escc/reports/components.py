"""What pages call the parts of a run: why the compute unit waits, and where energy goes."""

from __future__ import annotations

STALL_TEXT = {
    "load": "waits for a load",
    "post": "waits for the post unit",
    "store": "waits for a store",
    "fetch": "waits for an instruction",
    "drain": "has no more work",
}
COMPONENT_TEXT = {
    "dram": "DRAM",
    "act": "ACT",
    "coef": "COEF",
    "par": "PAR",
    "psum": "PSUM",
    "registers": "coefficient registers",
    "fifo": "broadcast FIFOs",
    "mac_rows": "MAC rows",
    "post": "post unit",
}
"""Names other than those of `emulator.energy.COMPONENTS`."""
