"""An example of a package that extends escc: a dialect, two passes and a target, found through entry points."""
