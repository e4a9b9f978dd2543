"""One network in several forms: bytes of constants, cycles and energy of an image, and accuracy."""

from stripes import images, labels, network

import escc

right = (network(images).argmax(dim=1) == labels).float().mean().item()
print(f"{'float':9}{4 * sum(p.numel() for p in network.parameters()):7,} bytes {'':25}top-1 {right:.1%}")
for name, options in {
    "dense": {"scheme": "dense"},
    "auto": {"scheme": "auto"},
    "max_drop": {"max_drop": 1.0},
}.items():
    compiled = escc.compile(network, {"x": images[:600], "y": labels[:600]}, **options)
    totals = compiled.stats(images[:1])["totals"]
    print(
        f"{name:9}{compiled.report()['totals']['constant_bytes']:7,} bytes {totals['cycles']:7,} cycles"
        f" {totals['energy_uj']['total']:6.2f} uJ  top-1 {compiled.accuracy(images, labels).top1:.1%}"
    )
