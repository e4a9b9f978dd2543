"""IR passes, one file a pass, and the pipelines as data."""
