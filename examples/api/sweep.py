"""The same network on machines of several sizes."""

import numpy as np

import escc

x = np.load("examples/models/calibration.npz")["x"]
for blocks in (4, 8, 16):
    target = escc.Target("esc1", array={"blocks": blocks}, name=f"esc1 with {blocks} blocks")
    compiled = escc.compile("examples/models/resnet8_cifar10.onnx", x, "dense", target, samples=16)
    totals = compiled.stats(x[:1])["totals"]
    print(f"{blocks:2} blocks: {totals['cycles']:6} cycles, {totals['energy_uj']['total']:5.2f} uJ")
