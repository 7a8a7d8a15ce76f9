"""A small convolutional network in plain PyTorch: reports each epoch, stops when asked, goes on from its checkpoint."""

import argparse
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from torch import nn

from parallel_ml import checkpoint_dir, params, report, should_stop

parser = argparse.ArgumentParser()
parser.add_argument("--config", required=True, help="this process's own configuration")
data = yaml.safe_load(Path(parser.parse_args().config).read_text(encoding="utf-8"))["data_preprocessing"]
epochs = params["epochs"]
device = "cuda" if torch.cuda.is_available() else "cpu"  # the job sees only the card that it was given

torch.manual_seed(data["random_state"])
files = sorted(Path(data["image_dir"]).glob("*/*.png"))
classes = sorted({file.parent.name for file in files})
pixels = np.stack([np.asarray(Image.open(file).convert("L"), dtype=np.float32) / 255 for file in files])
x = torch.from_numpy(pixels).unsqueeze(1).to(device)
y = torch.tensor([classes.index(file.parent.name) for file in files], device=device)
held_out = torch.arange(len(files), device=device) % 5 == 0  # the same for every seed
x, y, x_val, y_val = x[~held_out], y[~held_out], x[held_out], y[held_out]

model = nn.Sequential(
    nn.Conv2d(1, params["channels"], 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(params["channels"], 2 * params["channels"], 3, padding=1),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(4),
    nn.Flatten(),
    nn.Linear(32 * params["channels"], len(classes)),
).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=params["learning_rate"])
loss_of = nn.CrossEntropyLoss()

checkpoint = checkpoint_dir() / "last.pt"  # later attempts of this job find it again
done = 0
if checkpoint.exists():
    state = torch.load(checkpoint, map_location=device, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    done = state["epoch"]
    print(f"going on after epoch {done}")

for epoch in range(done + 1, epochs + 1):
    model.train()
    total = 0.0
    for batch in torch.randperm(len(x), device=device).split(data["batch_size"]):
        loss = loss_of(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    model.eval()
    with torch.no_grad():
        guesses = model(x_val)
    accuracy = (guesses.argmax(dim=1) == y_val).float().mean()
    report(epoch=epoch, epochs=epochs, loss=total / len(x), val_loss=loss_of(guesses, y_val), val_accuracy=accuracy)

    half_written = checkpoint.with_suffix(".tmp")  # renamed when it is whole: a checkpoint is there or it is not
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, half_written)
    half_written.replace(checkpoint)
    if should_stop():
        break
