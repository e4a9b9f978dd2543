"""An example package that adds a weight form to escc, from the scheme that chooses it to the unit that reads it."""
