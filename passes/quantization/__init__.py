"""From the float network to integers: ranges, storage, operations, bias correction."""
