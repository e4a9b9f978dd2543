"""The ESC-1 machine: state, functional execution, timing, DRAM, energy, statistics and traces."""
