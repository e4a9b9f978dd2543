"""Command lines. Importing one imports nothing heavy; `--help` answers at once."""
