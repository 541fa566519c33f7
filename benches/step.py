"""The epoch that step.rs trains, in PyTorch: python3 step.py CASE DIR [channels_last].

Reads what step.rs left in DIR and prints a line like its own. The variables of portable numerics
must be set (benches/step sets them).
"""

import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

CONVOLUTIONS = ["conv1", "conv2", "conv3", "conv4", "conv5"]
POOLED = {"conv1", "conv2", "conv5"}
LAYERS = CONVOLUTIONS + ["fc6", "fc7", "fc8"]
EVALUATED_AT_ONCE = 250


def rest(x, layout):
    """How images wait between epochs: with the channel fastest where the layout is channels_last."""
    return x.permute(0, 2, 3, 1).contiguous() if layout == "channels_last" and x.dim() == 4 else x


def wake(x, layout):
    """The inverse. It moves nothing, and libtorch goes by the strides that it leaves: to ask for
    torch.channels_last would do nothing to grey images, which have but one channel."""
    return x.permute(0, 3, 1, 2) if layout == "channels_last" and x.dim() == 4 else x


def forward(weights, x, layers):
    for name in layers:
        weight, bias = weights[name]
        if name in CONVOLUTIONS:
            x = F.relu(F.conv2d(x, weight, bias, padding=1))
            if name in POOLED:
                x = F.max_pool2d(x, 2)
        else:
            x = F.linear(x.flatten(1), weight, bias)
            if name != "fc8":
                x = F.relu(x)
    return x


def hits(logits, labels):
    return (logits.argmax(1) == labels).sum().item()


def train(setting, initial, data, layout):
    """One epoch from the initial weights: mean loss in training and in validation."""
    solver, frozen = setting["solver"], setting["frozen"]
    mean, deviation = setting["moments"]
    weights = {}
    for index, name in enumerate(LAYERS):
        pair = [initial[f"{name}.{part}"].clone() for part in ("weight", "bias")]
        if layout == "channels_last" and name in CONVOLUTIONS:
            pair[0] = pair[0].contiguous(memory_format=torch.channels_last)
        weights[name] = [tensor.requires_grad_(index >= frozen) for tensor in pair]
    features = {}
    for part in ("train", "valid"):
        x = ((data[f"{part}.images"].float() / 255 - mean) / deviation).unsqueeze(1)
        x = rest(x, layout)
        with torch.no_grad():
            parts = [
                rest(forward(weights, wake(piece, layout), LAYERS[:frozen]), layout)
                for piece in x.split(EVALUATED_AT_ONCE)
            ]
        features[part] = torch.cat(parts) if frozen else x
    trained = LAYERS[frozen:]
    # The quickest of its implementations: slower ones would flatter selffer.
    optimizer = torch.optim.SGD(
        [tensor for name in trained for tensor in weights[name]],
        lr=solver["rate"], momentum=solver["momentum"], weight_decay=solver["decay"], fused=True,
    )

    order = data["order"]
    loss_sum, correct = 0.0, 0
    for batch in order.split(solver["batch"]):
        inputs = wake(features["train"].index_select(0, batch), layout)
        labels = data["train.labels"].index_select(0, batch)
        logits = forward(weights, inputs, trained)
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(batch)
        correct += hits(logits, labels)
    train_loss = loss_sum / len(order)

    loss_sum = 0.0
    with torch.no_grad():
        pieces = features["valid"].split(EVALUATED_AT_ONCE), data["valid.labels"].split(EVALUATED_AT_ONCE)
        for inputs, labels in zip(*pieces):
            logits = forward(weights, wake(inputs, layout), trained)
            loss_sum += F.cross_entropy(logits, labels, reduction="sum").item()
            correct += hits(logits, labels)
    return train_loss, loss_sum / len(data["valid.labels"])


def main(case, folder, layout="contiguous"):
    torch.set_num_threads(1)
    folder = Path(folder)
    setting = json.loads((folder / "setting.json").read_text())
    initial = load_file(folder / "initial.safetensors")
    data = load_file(folder / "data.safetensors")

    few = setting["warm_up"]
    warm_up = {f"{part}.{what}": data[f"train.{what}"][:few]
               for part in ("train", "valid") for what in ("images", "labels")}
    warm_up["order"] = torch.arange(few)
    train(setting, initial, warm_up, layout)
    # Seconds that this thread has been computing, as step.rs counts them.
    start = time.thread_time()
    train_loss, valid_loss = train(setting, initial, data, layout)
    seconds = time.thread_time() - start
    images = len(data["train.labels"])
    print(json.dumps({
        "case": case, "what": f"python {layout}", "images": images, "seconds": seconds,
        "images_per_second": images / seconds, "train_loss": train_loss, "valid_loss": valid_loss,
    }))


main(*sys.argv[1:])
