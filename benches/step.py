"""What step.rs trains, in PyTorch: python3 step.py CASE DIR DEVICE WAY…, and `python3 step.py peak DEVICE`.

Reads what step.rs left in DIR and prints a line like its own for each WAY: eager, channels_last (eager, with that memory
layout), compile (torch.compile) and compile_channels_last. `peak` prints what square matrix products reach. ci/bench calls
it, and sets the variables of a numerics policy or none.
"""

import json
import os
import sys
import time
from pathlib import Path

if "cuda" in sys.argv:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("DISABLE_ADDMM_CUDA_LT", "1")

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

CONVOLUTIONS = ["conv1", "conv2", "conv3", "conv4", "conv5"]
POOLED = {"conv1", "conv2", "conv5"}
NORMALISED = {"conv1", "conv2"}
DROPPED = {"fc6": 5, "fc7": 6}
LAYERS = CONVOLUTIONS + ["fc6", "fc7", "fc8"]
EVALUATED_AT_ONCE = 250
# Of the paper's network: stride, padding, groups.
CAFFE = {"conv1": (4, 0, 1), "conv2": (1, 2, 2), "conv3": (1, 1, 1), "conv4": (1, 1, 2), "conv5": (1, 1, 2)}


def settle(device):
    """As selffer has it: one thread, 32 bits throughout, deterministic where PyTorch can be."""
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # What has no deterministic form on an accelerator runs all the same, with a warning: that favours PyTorch.
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("step.py: PyTorch finds no CUDA device here")


def clock(device):
    """Seconds, as step.rs counts them: of this thread on a CPU, passed by on an accelerator, once all is done."""
    if device == "cpu":
        return time.thread_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def rest(x, last):
    """How images wait between epochs: with the channel fastest where that is the layout."""
    return x.permute(0, 2, 3, 1).contiguous() if last and x.dim() == 4 else x


def wake(x, last):
    """The inverse. It moves nothing, and libtorch goes by the strides that it leaves: to ask for
    torch.channels_last would do nothing to grey images, which have but one channel."""
    return x.permute(0, 3, 1, 2) if last and x.dim() == 4 else x


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


def caffe_forward(weights, x, masks=None):
    """The paper's network in training; `masks` instead of PyTorch's own dropout."""
    for name in LAYERS:
        weight, bias = weights[name]
        if name in CONVOLUTIONS:
            x = F.relu(F.conv2d(x, weight, bias, CAFFE[name][0], CAFFE[name][1], 1, CAFFE[name][2]))
            if name in POOLED:
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            if name in NORMALISED:
                x = F.local_response_norm(x, size=5, alpha=1e-4, beta=0.75, k=1.0)
        else:
            x = F.linear(x.flatten(1), weight, bias)
            if name != "fc8":
                x = F.relu(x)
                x = F.dropout(x, 0.5) if masks is None else x * masks[name]
    return x


def loss_of(logits, labels):
    return F.cross_entropy(logits, labels)


def hits(logits, labels):
    return (logits.argmax(1) == labels).sum().item()


def leaves(initial, frozen, last, device):
    weights = {}
    for index, name in enumerate(LAYERS):
        pair = [initial[f"{name}.{part}"].to(device, copy=True) for part in ("weight", "bias")]
        if last and name in CONVOLUTIONS:
            pair[0] = pair[0].contiguous(memory_format=torch.channels_last)
        weights[name] = [tensor.requires_grad_(index >= frozen) for tensor in pair]
    return weights


def small_epoch(setting, initial, data, last, device, forward):
    """One epoch from the initial weights: mean loss in training and in validation."""
    solver, frozen = setting["solver"], setting["frozen"]
    mean, deviation = setting["moments"]
    weights = leaves(initial, frozen, last, device)
    data = {name: tensor.to(device) for name, tensor in data.items()}
    features = {}
    for part in ("train", "valid"):
        x = ((data[f"{part}.images"].float() / 255 - mean) / deviation).unsqueeze(1)
        x = rest(x, last)
        with torch.no_grad():
            parts = [
                rest(forward(weights, wake(piece, last), LAYERS[:frozen]), last)
                for piece in x.split(EVALUATED_AT_ONCE)
            ] if frozen else [x]
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
        inputs = wake(features["train"].index_select(0, batch), last)
        labels = data["train.labels"].index_select(0, batch)
        logits = forward(weights, inputs, trained)
        loss = loss_of(logits, labels)
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
            logits = forward(weights, wake(inputs, last), trained)
            loss_sum += F.cross_entropy(logits, labels, reduction="sum").item()
            correct += hits(logits, labels)
    return [train_loss, loss_sum / len(data["valid.labels"])]


def small(setting, initial, data, last, device, compiled):
    run = torch.compile(forward, dynamic=False) if compiled else forward
    few = setting["warm_up"]
    warm_up = {f"{part}.{what}": data[f"train.{what}"][:few]
               for part in ("train", "valid") for what in ("images", "labels")}
    warm_up["order"] = torch.arange(few)
    small_epoch(setting, initial, warm_up, last, device, run)
    start = clock(device)
    losses = small_epoch(setting, initial, data, last, device, run)
    return len(data["train.labels"]), clock(device) - start, losses


def caffe_steps(setting, initial, data, last, device, run, steps, masks):
    """Steps of the paper's network from the initial weights: the losses, and a time after each."""
    solver, crop = setting["solver"], setting["crop"]
    weights = leaves(initial, 0, last, device)
    rate, decay = solver["rate"], solver["decay"]
    # Caffe's multipliers. While the rate is the same, it does not matter that Caffe has it within the momentum.
    optimizer = torch.optim.SGD([
        {"params": [pair[0] for pair in weights.values()], "lr": rate, "weight_decay": decay},
        {"params": [pair[1] for pair in weights.values()], "lr": 2 * rate, "weight_decay": 0.0},
    ], momentum=solver["momentum"], fused=True)
    mean = data["train.images"].double().mean(0).float()
    batches = [data["order"][step * solver["batch"]:][:solver["batch"]] for step in range(steps)]

    def windows(step):
        for index, (row, col, mirrored) in zip(batches[step].tolist(), setting["windows"][step]):
            at = (slice(row, row + crop), slice(col, col + crop))
            window = data["train.images"][index][at].float() - mean[at]
            yield window.flip(1) if mirrored else window

    # selffer cuts them beside its training; here they are cut before it.
    cut = [torch.stack(list(windows(step))) for step in range(steps)]
    losses, stamps = [], []
    for step, batch in enumerate(batches):
        inputs = cut[step].to(device).permute(0, 3, 1, 2)
        inputs = inputs if last else inputs.contiguous()
        labels = data["train.labels"].index_select(0, batch).to(device)
        dropped = None if not masks else {
            name: data[f"mask.{step}.{layer}"].reshape(len(batch), -1).to(device) for name, layer in DROPPED.items()
        }
        logits = run(weights, inputs, dropped)
        loss = loss_of(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        hits(logits, labels)
        stamps.append(clock(device))
    return losses, stamps


def caffe(setting, initial, data, last, device, compiled):
    run = torch.compile(caffe_forward, dynamic=False) if compiled else caffe_forward
    untimed, timed = setting["untimed"], setting["timed"]
    # With the windows and masks of step.rs the losses are its own.
    losses, _ = caffe_steps(setting, initial, data, last, device, caffe_forward, untimed, True)
    _, stamps = caffe_steps(setting, initial, data, last, device, run, untimed + timed, False)
    return timed * setting["solver"]["batch"], stamps[-1] - stamps[untimed - 1], [sum(losses) / untimed]


def peak(device):
    """GFLOP/s of the best of several square matrix products."""
    settle(device)
    best = 0.0
    for side in (512, 1024, 2048) if device == "cpu" else (2048, 4096, 8192):
        a, b = (torch.randn(side, side, device=device) for _ in range(2))
        a @ b
        for _ in range(5):
            start = clock(device)
            a @ b
            best = max(best, 2 * side**3 / (clock(device) - start) / 1e9)
    print(json.dumps({"case": "peak", "what": "matrix product", "gflops": best}))


def main(case, folder, device, *ways):
    settle(device)
    folder = Path(folder)
    setting = json.loads((folder / "setting.json").read_text())
    initial = load_file(folder / "initial.safetensors")
    data = load_file(folder / "data.safetensors")
    train = {"small": small, "caffe": caffe}[setting["layout"]]
    for way in ways:
        compiled, last = way.startswith("compile"), way.endswith("channels_last")
        try:
            images, seconds, losses = train(setting, initial, data, last, device, compiled)
        except Exception as error:
            if not compiled:
                raise
            # It takes a compiler, and not every machine has one that it likes.
            print(f"step.py: {case}: torch.compile does not work here: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        print(json.dumps({
            "case": case, "what": f"PyTorch {way}", "images": images, "seconds": seconds,
            "images_per_second": images / seconds, "losses": losses,
        }), flush=True)


if sys.argv[1] == "peak":
    peak(sys.argv[2])
else:
    main(*sys.argv[1:])
