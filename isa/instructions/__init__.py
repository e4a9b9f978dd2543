"""One file an instruction, ending in its `SPEC`; `isa.table` finds them all."""
