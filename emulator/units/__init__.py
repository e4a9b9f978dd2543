"""One file an instruction, ending in its `UNIT`; `emulator.handlers` finds them all."""
