"""The script that most would write, for `throughput.py` to compare with: no featx in it.

``python benchmarks/plain.py FOLDER OUTPUT BACKBONE [WEIGHTS] [DEVICE] [PROCESSES]`` prints a JSON
object with the number of images, and the seconds from the first of them to the closed file.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset


class Photos(Dataset[torch.Tensor]):
    """Every JPEG of a folder, preprocessed."""

    def __init__(self, folder: str, transform: torch.nn.Module) -> None:
        self.paths = sorted(Path(folder).rglob("*.jpg"))
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        pixels: torch.Tensor = self.transform(Image.open(self.paths[index]).convert("RGB"))
        return pixels


def embed(
    folder: str, output: str, name: str, weights: str = "", *, device: str = "cpu", n_processes: int
) -> None:
    """Embed, and keep all in memory until the end."""
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None)
    if weights:
        network.load_state_dict(torch.load(weights), strict=False)
    last = [path for path, module in network.named_modules() if isinstance(module, torch.nn.Linear)]
    network.set_submodule(last[-1], torch.nn.Identity())
    network = network.eval().to(device)
    preset = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].transforms()
    photos = Photos(folder, preset)
    begin = time.perf_counter()
    parts = []
    with torch.no_grad():
        for batch in DataLoader(photos, batch_size=32, num_workers=n_processes):
            vectors = network(batch.to(device))
            parts.append(vectors.cpu().numpy())
    with h5py.File(output, "w") as file:
        file["embeddings"] = np.concatenate(parts)
    print(json.dumps({"images": len(photos), "elapsed_s": time.perf_counter() - begin}))


if __name__ == "__main__":
    given = sys.argv[5:]
    processes = int(given[1]) if given[1:] else 2
    embed(*sys.argv[1:5], device=(given or ["cpu"])[0], n_processes=processes)
