"""What pages call the parts of a run: why the compute unit waits, and where energy goes."""

from __future__ import annotations

from emulator.energy import OWN_COMPONENTS
from escc.reports.page import Card
from isa.hosted import HostWork

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
    **{name: component.text for name, component in OWN_COMPONENTS.items()},
}
"""Names other than those of `emulator.energy.COMPONENTS`."""


def host_card(work: HostWork) -> Card:
    """What the host computes of a network."""
    nodes = f"{work.nodes:,} of {work.nodes + work.machine_nodes:,} nodes"
    return Card(f"{work.share:.1%}", f"of the multiply-accumulates, {nodes}, on the host and in no other number here")
