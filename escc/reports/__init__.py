"""Self-contained HTML pages about a compilation or a run: the parts of a page, one file each, and the pages."""
