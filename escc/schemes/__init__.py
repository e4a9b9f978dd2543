"""The compression schemes of escc, each a file that has a `SCHEME`: NAME.py is `--scheme NAME`, `_` read as `-`.

A scheme decides how one convolution is computed. It is a callable ``(layer, options) -> WeightForm | None`` over
plain NumPy (see `passes.decomposition.scheme`); None keeps the layer dense. It is called once a layer, in the order of
the network, with the moments of the inputs that the already compressed network gives it, and must be deterministic.
What schemes share lies in `escc.compress`. Another package names its schemes in the entry points `escc.schemes`.
"""
