"""Areas of arithmetic units and cells of 45 nm, um2, and how a part of a machine is counted in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isa.target import Target

# Arithmetic synthesised for TSMC 45 nm, um2: W. Dally, "High-performance hardware for machine learning", NIPS 2015;
# also in Hennessy and Patterson, "Computer architecture", 6th edition, figure 1.13, beside the energies of Horowitz.
ADD_INT8 = 36.0
ADD_INT32 = 137.0
MUL_INT8 = 282.0
MUL_INT32 = 3495.0
# Cells of the Nangate open cell library of 45 nm, um2: DFF_X1 and MUX2_X1.
FLIP_FLOP = 4.522
MULTIPLEXER = 1.862


@dataclass(frozen=True)
class Cells:
    """Equal pieces of a machine: what one is, how many there are, and the um2 of one at 45 nm."""

    name: str
    count: int
    um2: float


def logic_picojoule(um2: float, target: Target) -> float:
    """Energy of logic that switches, from its um2 at 45 nm. Logic of the area of an adder of 8 bits takes the energy of
    one.

    Area and energy of that adder are those of the same published synthesis (see above).
    """
    return target.energy.add_int8 * um2 / ADD_INT8
