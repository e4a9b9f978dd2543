"""From a network of PyTorch to its cycles, energy and accuracy on the accelerator."""

from stripes import images, labels, network

import escc

compiled = escc.compile(network, images[:256])
totals = compiled.stats(images[:1])["totals"]
accuracy = compiled.accuracy(images, labels)
print(f"{totals['cycles']:,} cycles, {totals['energy_uj']['total']:.2f} uJ, top-1 {accuracy.top1:.1%}")
compiled.save("out/stripes.bin")
