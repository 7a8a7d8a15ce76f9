"""A training as anybody writes it: plain PyTorch, no word of this project. `python tiny_torch.py SEED STEPS`."""

import sys

import torch

seed, steps = int(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(seed)
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters())
x, y = torch.randn(256, 64), torch.randint(0, 10, (256,))
for _ in range(steps):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
print(f"loss={loss.item():.9f}", flush=True)
