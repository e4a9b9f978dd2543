"""A network of PyTorch, calibrated by a DataLoader: its binary, cycles, energy and accuracy."""

import torch
from torch.utils.data import DataLoader, TensorDataset

import escc

torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Conv2d(3, 16, 3, padding=1),
    torch.nn.BatchNorm2d(16),
    torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool2d(1),
    torch.nn.Flatten(),
    torch.nn.Linear(16, 10),
)
images = torch.rand(64, 3, 32, 32)
with torch.no_grad():
    labels = network.eval()(images).argmax(dim=1)  # the network is not trained: its own answers

compiled = escc.compile(network, DataLoader(TensorDataset(images, labels), batch_size=16), "dense")
compiled.save("out/network.bin")
totals = compiled.stats(images[:1])["totals"]
accuracy = compiled.accuracy(images, labels)

print(f"{len(compiled.binary)} bytes, {totals['cycles']} cycles, {totals['energy_uj']['total']:.1f} uJ an image")
print(f"the answers of the float network: all but {accuracy.images - accuracy.right} of {accuracy.images}")
