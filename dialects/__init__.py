"""The IR levels, one file a dialect."""
