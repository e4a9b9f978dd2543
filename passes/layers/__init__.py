"""The layer kinds of the machine, one file each, and the table of them."""
