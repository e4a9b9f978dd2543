"""`--host-fallback`: what the machine has no operators for runs on the host, before and behind the machine.

`split` cuts a model into head, middle and tail; `load` gives the middle as a module that carries head and tail with it.
"""

from escc.host_fallback.calibration import machine_samples, network_samples
from escc.host_fallback.loading import load, refuse_drop, set_images
from escc.host_fallback.whole import compare

__all__ = ["compare", "load", "machine_samples", "network_samples", "refuse_drop", "set_images"]
