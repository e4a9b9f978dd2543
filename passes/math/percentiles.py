"""Which percentiles may bound activations; apart from all arithmetic, as commands check their options without it."""

LEAST_PERCENTILE = 50
"""A range must reach above this percentile of absolute activations: below it, most values would be clipped."""
