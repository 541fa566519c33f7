"""A plan's networks by a plain PyTorch script: python3 plan.py PROTOCOL.toml PLAN.json DEVICE [all|one].

PLAN.json is what `selffer plan --format json` says. It trains the same networks by the same recipe (widths, He initialisation,
rates, batches, epochs, validation after each) on the embedded images, one network after the other in eager mode with all
cores (or one: small networks gain little by more, and lose where the machine has other work), as one writes it: a fresh order for each epoch, frozen layers without gradients and computed in each step. First weights
and orders are PyTorch's own draws. Images rest on the device, and the optimizer is the quickest of PyTorch's. What it leaves
out, it leaves out in its own favour: nothing is written, verified or hashed.
"""

import copy
import gzip
import json
import os
import struct
import sys
import time
from pathlib import Path

if "cuda" in sys.argv:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("DISABLE_ADDMM_CUDA_LT", "1")
BEGIN = time.perf_counter()

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

try:
    import tomllib
except ImportError:
    import tomli as tomllib

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "data"


def idx(name):
    raw = gzip.decompress((FIXTURES / name).read_bytes())
    dims = raw[3]
    shape = struct.unpack(f">{dims}I", raw[4:4 + 4 * dims])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dims).reshape(shape)


class Network(nn.Module):
    def __init__(self, conv, hidden, classes, side):
        super().__init__()
        widths = [1] + conv
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(widths, conv))
        flat = conv[-1] * (side // 2 // 2 // 2) ** 2
        widths = [flat] + hidden + [classes]
        self.fulls = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        for layer in self.layers():
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def layers(self):
        return [*self.convs, *self.fulls]

    def forward(self, x):
        for index, layer in enumerate(self.convs):
            x = F.relu(layer(x))
            if index in (0, 1, 4):
                x = F.max_pool2d(x, 2)
        x = x.flatten(1)
        for index, layer in enumerate(self.fulls):
            x = layer(x)
            if index < 2:
                x = F.relu(x)
        return x


def train(net, frozen, solver, train_x, train_y, valid_x, valid_y):
    for layer in net.layers()[:frozen]:
        layer.requires_grad_(False)
    optimizer = torch.optim.SGD(
        [parameter for parameter in net.parameters() if parameter.requires_grad],
        lr=solver["rate"], momentum=solver["momentum"], weight_decay=solver["decay"], fused=True,
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, solver["rate_drops"], solver["rate_factor"])
    for _ in range(solver["epochs"]):
        for batch in torch.randperm(len(train_y), device=train_y.device).split(solver["batch"]):
            loss = F.cross_entropy(net(train_x[batch]), train_y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        with torch.no_grad():
            right = sum((net(x).argmax(1) == y).sum() for x, y in zip(valid_x.split(250), valid_y.split(250))).item()
    return right / len(valid_y)


def main(protocol, plan, device, cores="all"):
    # All cores, which is what PyTorch takes by itself, or one.
    if cores == "one":
        torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.manual_seed(0)
    protocol = tomllib.loads(Path(protocol).read_text())
    plan = json.loads(Path(plan).read_text())
    if protocol["data"] != "embedded":
        sys.exit("plan.py: it reads the embedded images alone")
    names = (FIXTURES / "classes.txt").read_text().split()
    parts = {}
    for part, prefix in (("train", "train"), ("valid", "t10k")):
        images, labels = idx(f"{prefix}-images-idx3-ubyte.gz"), idx(f"{prefix}-labels-idx1-ubyte.gz")
        parts[part] = torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64))
    everything = parts["train"][0].float() / 255
    mean, deviation = everything.mean(), everything.std(unbiased=False)

    tasks = {}
    for split in plan["splits"]:
        for task in "AB":
            classes = split.get(task, {}).get("classes", [])
            found = []
            for part in ("train", "valid"):
                images, labels = parts[part]
                most = protocol.get(f"{part}_per_class")
                at = [torch.nonzero(labels == names.index(name)).flatten()[:most] for name in classes]
                if not at:
                    continue
                x = ((images[torch.cat(at)].float() / 255 - mean) / deviation).unsqueeze(1)
                y = torch.cat([torch.full((len(some),), label) for label, some in enumerate(at)])
                found += [x.to(device), y.to(device)]
            tasks[split["name"], task] = len(classes), found

    conv, hidden = protocol["network"]["conv"], protocol["network"]["hidden"]
    side = everything.shape[-1]
    trained, accuracies = {}, []
    for run in plan["runs"]:
        classes, images = tasks[run["split"], run["target"]]
        net = Network(conv, hidden, classes, side)
        copied = run["n"]
        if run["parent"]:
            parent = trained[run["parent"]].layers()
            for layer, of in zip(net.layers()[:copied], parent):
                layer.load_state_dict(copy.deepcopy(of.state_dict()))
        frozen = 0 if run["treatment"].endswith("+") else copied
        accuracy = train(net.to(device), frozen, protocol["solver"], *images)
        accuracies.append(accuracy)
        if run["treatment"].startswith("base"):
            trained[run["run"]] = net
    print(json.dumps({
        "case": f"plan {protocol['name']}", "what": f"PyTorch eager, one after the other, {cores} core{'s' if cores == 'all' else ''}",
        "seconds": time.perf_counter() - BEGIN, "networks": len(plan["runs"]), "accuracy": sum(accuracies) / len(accuracies),
    }))


main(*sys.argv[1:])
