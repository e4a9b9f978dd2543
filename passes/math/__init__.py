"""Mathematics of the passes over plain numbers and arrays; nothing here knows the IR."""
