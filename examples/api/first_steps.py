"""Compile a network, run it, and see what it costs and how well it answers."""

import numpy as np

import escc

data = np.load("examples/models/calibration.npz")  # x float32 [100, 3, 32, 32], y int64 [100]
compiled = escc.compile("examples/models/resnet8_cifar10.onnx", data["x"])
compiled.save("out/resnet8.bin")

scores = compiled.run(data["x"][:2])  # float32 [2, 10]
totals = compiled.stats(data["x"][:1])["totals"]
accuracy = compiled.accuracy(data["x"], data["y"])

print("classes", scores.argmax(axis=1))
print(f"{totals['cycles']} cycles = {1000 * totals['time_ms']:.1f} us, {totals['energy_uj']['total']:.1f} uJ")
print(f"top-1 {accuracy.top1:.0%}, top-5 {accuracy.top5:.0%} of {accuracy.images} images")
for layer in compiled.layers[:5]:
    print(f"{layer.name:22} {layer.kind:8} {layer.packed_bytes:5} bytes, {layer.bits_per_weight:.1f} bits a weight")
