"""Train the bundled backbones of featx, ``mini`` and ``lenet5``, from CIFAR-10.

The script reads ``cifar10-train.tar`` and ``cifar10-test.tar`` (JPEG members ``class/number.jpg``)
and writes to the output folder

- ``<model>.csv``: one row per epoch,
- ``<model>.checkpoint.pt``: the state after the last finished epoch, for ``--resume``,
- ``<model>.safetensors``: the weights in half precision,
- ``<model>.json``: how they came about, and their accuracy on the test images.

All randomness derives from the seed and the number of the epoch. The CPU of one machine, with one
number of threads, therefore repeats a run digit for digit, and a resumed run equals an undisturbed
one. With ``--holdout`` the run is an experiment: it is judged by the images held out from the
training tar, and the test images stay unread. ::

    python pipelines/pretrain_mini.py --model mini --out weights
    python pipelines/pretrain_mini.py --model mini --out trial --epochs 6 --holdout 5000
"""

from __future__ import annotations

import argparse
import csv
import functools
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from augmentation import Augmentation, augment
from cifar10 import Images, read_images
from safetensors.torch import load_file, save_file
from shared import build_parser
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle
from tqdm import tqdm

from featx.backbones.bundled.lenet5 import LeNet5
from featx.backbones.bundled.mini import Mini

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Recipe:
    """How one model is trained.

    Attributes
    ----------
    size : int
        Side of the input in pixels, to which the images are resized.
    epochs : int
        Number of passes over the training images.
    batch : int
        Images per step.
    peak_lr : float
        Learning rate at the end of the warm-up.
    warmup : float
        Share of the steps in which the learning rate rises linearly; it then falls as a cosine.
    momentum : float
        Nesterov momentum.
    weight_decay : float
        Weight decay of the convolution and linear weights; biases and batch normalisation have
        none.
    augmentation : Augmentation
        What happens to the images at random.
    """

    size: int
    epochs: int
    batch: int
    peak_lr: float
    warmup: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augmentation: Augmentation = field(default_factory=Augmentation)


STRONG = Augmentation(
    min_scale=0.75, max_scale=1.1, max_turn=10, colour=0.3, gray=0.1, invert=0.1, coarse=0.15
)

MODELS: dict[str, tuple[Callable[[int], nn.Module], Recipe]] = {
    "mini": (
        Mini,
        Recipe(size=64, epochs=30, batch=128, peak_lr=0.1, augmentation=STRONG),
    ),
    "lenet5": (LeNet5, Recipe(size=32, epochs=20, batch=128, peak_lr=0.05)),
}


def make_generator(seed: int, stream: int) -> torch.Generator:
    """Make the random generator of one part of a run."""
    state = np.random.SeedSequence((seed, stream)).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(state[0]))


def split_images(
    images: Images, holdout: int, limit: int | None, seed: int
) -> tuple[Images, Images]:
    """Shuffle images and set some of them apart."""
    order = torch.randperm(len(images), generator=make_generator(seed, 0))[:limit]
    if not 0 <= holdout < len(order):
        raise SystemExit(
            f"--holdout: expected 0 to {len(order) - 1}, got {holdout}. Hold out fewer images."
        )
    return images.subset(order[holdout:]), images.subset(order[:holdout])


def normalise(pixels: Tensor) -> Tensor:
    """Apply the ImageNet normalisation."""
    mean = torch.tensor(MEAN, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(STD, device=pixels.device).view(3, 1, 1)
    return ((pixels / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def resize(pixels: Tensor, size: int) -> Tensor:
    """Resize images as Pillow's bilinear filter does."""
    return functional.interpolate(
        pixels, (size, size), mode="bilinear", align_corners=False, antialias=True
    )


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Compute the learning rate of a step."""
    if progress < recipe.warmup:
        return recipe.peak_lr * progress / recipe.warmup
    rest = (progress - recipe.warmup) / (1 - recipe.warmup)
    return recipe.peak_lr * (1 + math.cos(math.pi * rest)) / 2


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Make the optimizer, with weight decay for matrices and kernels only."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=recipe.peak_lr, momentum=recipe.momentum, nesterov=True)


def hide_quarters(model: Mini) -> RemovableHandle:
    """Let the classifier see only the last part of mini's embedding while it is trained.

    Trained through both parts, mini was worse at its own classes and at others
    (docs/how_to/bundled.md).
    """
    nn.init.zeros_(model.fc.weight[:, : model.n_quarters])
    return model.quarters.register_forward_hook(lambda *call: torch.zeros_like(call[-1]))


def has_fast_bfloat16(device: torch.device) -> bool:
    """Tell whether a device computes in bfloat16 faster than in single precision."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Private functions may be missing from another version of PyTorch.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in probes)


def batches(count: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Deal out all images in a random order, less an incomplete last batch."""
    order = torch.randperm(count, generator=generator)
    for start in range(0, count - batch + 1, batch):
        yield order[start : start + batch]


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Images,
    recipe: Recipe,
    *,
    epoch: int,
    seed: int,
    device: torch.device,
) -> tuple[float, float, float]:
    """Train for one epoch."""
    generator = make_generator(seed, epoch)
    mixed = has_fast_bfloat16(device)
    steps = len(images) // recipe.batch
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    hits = torch.zeros((), dtype=torch.int64, device=device)
    rate = 0.0
    model.train()
    bar = tqdm(total=steps, desc=f"epoch {epoch}/{recipe.epochs}", unit=" steps", disable=None)
    for step, index in enumerate(batches(len(images), recipe.batch, generator)):
        rate = learning_rate(recipe, (epoch - 1 + (step + 0.5) / steps) / recipe.epochs)
        for group in optimizer.param_groups:
            group["lr"] = rate
        pixels = images.pixels[index].to(device)
        inputs = normalise(augment(pixels, recipe.size, recipe.augmentation, generator))
        labels = images.labels[index].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            logits = model(inputs)
        logits = logits.float()
        loss = functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss_sum += loss.detach()
        hits += (logits.argmax(1) == labels).sum()
        bar.update()
    bar.close()
    return rate, loss_sum.item() / steps, hits.item() / (steps * recipe.batch)


@torch.inference_mode()
def evaluate(model: nn.Module, images: Images, size: int, device: torch.device) -> float:
    """Measure the accuracy in single precision, without augmentation."""
    model.eval()
    hits = 0
    for start in range(0, len(images), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        inputs = normalise(resize(images.pixels[part], size).to(device))
        hits += int((model(inputs).argmax(1).cpu() == images.labels[part]).sum())
    return hits / len(images)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file that is either complete or left as it was."""
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    os.replace(temporary, path)


def write_rows(rows: list[dict[str, object]], path: Path) -> None:
    """Write the table of epochs."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def restore(
    checkpoint: Path, run: dict[str, object], model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[list[dict[str, object]], float]:
    """Go back to the state after the last finished epoch."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if saved["run"] != run:
        raise SystemExit(
            f"{checkpoint.name}: expected a checkpoint of this run, got one of other options. "
            "Pass the same options, or leave out --resume."
        )
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    return saved["rows"], saved["seconds"]


def half_precision(model: nn.Module) -> dict[str, Tensor]:
    """Round the weights of a model to half precision."""
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        rounded = tensor.detach().cpu().contiguous()
        if rounded.is_floating_point():
            rounded = rounded.half()
            if not bool(rounded.isfinite().all()):
                raise SystemExit(
                    f"{name}: expected values in the range of float16, got larger ones. Lower the "
                    "learning rate."
                )
        state[name] = rounded
    return state


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = build_parser("Train a bundled backbone from CIFAR-10.")
    parser.add_argument("--model", choices=sorted(MODELS), required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--epochs", type=int, help="default: as the recipe says")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--holdout", type=int, default=0, help="training images to judge by instead of the test"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--limit", type=int, help="use this many training images at most")
    return parser.parse_args(arguments)


def choose_device(name: str) -> torch.device:
    """Turn the ``--device`` option into a device."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise SystemExit("--device: expected a CUDA device, got none. Use --device cpu.")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def main(arguments: list[str] | None = None) -> None:
    """Train, save and, unless images are held out, test a model."""
    options = parse_arguments(arguments)
    make_model, recipe = MODELS[options.model]
    recipe = replace(recipe, epochs=options.epochs or recipe.epochs)
    device = choose_device(options.device)
    # CUDA reads this when it starts; without it, its matrix products are not reproducible.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False

    images = read_images(options.data / "data" / "cifar10-train.tar")
    train, held = split_images(images, options.holdout, options.limit, options.seed)
    if len(train) < recipe.batch:
        raise SystemExit(
            f"--limit: expected at least {recipe.batch} images to train from, got {len(train)}. "
            "Raise --limit or lower --holdout."
        )
    torch.manual_seed(options.seed)
    model = make_model(len(images.classes)).to(device).to(memory_format=torch.channels_last)
    if isinstance(model, Mini):
        hide_quarters(model)
    optimizer = make_optimizer(model, recipe)
    run = {
        "model": options.model,
        "recipe": asdict(recipe),
        "seed": options.seed,
        "train_images": len(train),
        "holdout_images": len(held),
        "classes": list(images.classes),
    }

    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / options.model
    checkpoint = stem.with_suffix(".checkpoint.pt")
    rows: list[dict[str, object]] = []
    before = 0.0
    if options.resume and checkpoint.is_file():
        rows, before = restore(checkpoint, run, model, optimizer)

    start = time.monotonic()
    for epoch in range(len(rows) + 1, recipe.epochs + 1):
        begin = time.monotonic()
        rate, loss, accuracy = train_epoch(
            model, optimizer, train, recipe, epoch=epoch, seed=options.seed, device=device
        )
        row: dict[str, object] = {
            "epoch": epoch,
            "lr": f"{rate:.6f}",
            "train_images": len(train),
            "holdout_images": len(held),
            "train_loss": f"{loss:.6f}",
            "train_accuracy": f"{accuracy:.6f}",
        }
        if len(held):
            row["holdout_accuracy"] = f"{evaluate(model, held, recipe.size, device):.4f}"
        row["seconds"] = f"{time.monotonic() - begin:.1f}"
        rows.append(row)
        state = {
            "run": run,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "rows": rows,
            "seconds": before + time.monotonic() - start,
        }
        write_atomically(checkpoint, functools.partial(torch.save, state))
        write_atomically(stem.with_suffix(".csv"), functools.partial(write_rows, rows))
        print(" ".join(f"{key}={value}" for key, value in row.items()), flush=True)
    seconds = before + time.monotonic() - start

    weights = stem.with_suffix(".safetensors")
    half = half_precision(model)
    write_atomically(weights, lambda path: save_file(half, path))
    model.load_state_dict(load_file(weights))
    test = None if len(held) else read_images(options.data / "data" / "cifar10-test.tar")
    if test is not None and test.classes != images.classes:
        raise SystemExit(
            f"cifar10-test.tar: expected the classes {', '.join(images.classes)}, got "
            f"{', '.join(test.classes)}. Check the file."
        )
    result = {
        **run,
        "epochs": recipe.epochs,
        "wall_seconds": round(seconds, 1),
        "test_accuracy": evaluate(model, test, recipe.size, device) if test else None,
        "holdout_accuracy": evaluate(model, held, recipe.size, device) if len(held) else None,
        "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "device": device.type,
        "bfloat16": has_fast_bfloat16(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    text = json.dumps(result, indent=2) + "\n"
    write_atomically(stem.with_suffix(".json"), lambda path: path.write_text(text, "utf-8"))
    print(text, end="", flush=True)


if __name__ == "__main__":
    main()
