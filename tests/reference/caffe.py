"""What PyTorch makes of the paper's Caffe network: prints caffe.json, to which src/net/caffe.rs and src/train/caffe.rs hold
selffer's.

    python3 tests/reference/caffe.py > tests/reference/caffe.json

It needs PyTorch (the file is of 2.11.0: pip install torch==2.11.0 numpy) and numpy, and of selffer only the description of its random
streams (streams.py). The network is PyTorch's own convolutions with groups, pooling in ceil mode, and
local_response_norm. First weights and images are a formula, written down once here and once in the tests, and numbers
that 32 bits hold; all is computed in 64 bits, which makes it the same on every processor.

First the network at full width, two images: what leaves each layer, the loss, and the gradient of every weight and
bias with half of fc6 and fc7 dropped. Rounding can turn a unit on or off, or have another one win in a pool, and
the gradients then differ by a hundredth. So the two images were chosen for having no such decision near: `nearest` is how
near, as a share of the layer's deviation. Then training at an eighth of the width: windows, mirrors, dropped units and
order from the streams, batches that run on from one pass into the next, Caffe's momentum, doubled rates and no
decay of biases.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent))
sys.stdout, stdout = sys.stderr, sys.stdout  # what streams.py says when it is imported
from streams import Stream  # noqa: E402

sys.stdout = stdout

NAMES = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
KERNEL, STRIDE, PADDING, GROUPS = [11, 5, 3, 3, 3], [4, 1, 1, 1, 1], [0, 2, 1, 1, 1], [1, 2, 1, 2, 2]
# Powers of two that keep activations in the range where normalisation matters.
SCALES = [2**-2, 2**-3, 2**-5, 2**-4, 2**-4, 2**-6, 2**-5, 2**-5]
FULL = ([96, 256, 384, 384, 256], [4096, 4096])
NARROW = ([12, 32, 48, 48, 32], [64, 48])
NARROW_SCALES = [2**-2, 2**-3, 2**-4, 2**-3, 2**-3, 2**-2, 2**-2, 2**-2]
CHOSEN = 54 << 24
SEED, SPLIT = 1, hashlib.sha256(b"reference").hexdigest()


def hashed(first, count):
    """Numbers in -0.5 to 0.5 that look random: multiples of 2^-24 (splitmix64)."""
    with np.errstate(over="ignore"):
        z = (np.arange(count, dtype=np.uint64) + np.uint64(first) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2**24 - 0.5


def short(numbers):
    """Those numbers as 32 bits have them."""
    return torch.from_numpy(numbers.astype(np.float32)).double()


def weights(conv, hidden, classes, fc6, scales):
    """Weights and biases; each layer's numbers begin at a multiple of 2^40."""
    tensors, inputs = [], 3
    for layer, out in enumerate(conv + hidden + [classes]):
        if layer < 5:
            shape = [out, inputs // GROUPS[layer], KERNEL[layer], KERNEL[layer]]
        else:
            shape = [out, fc6 if layer == 5 else inputs]
        count = int(np.prod(shape))
        weight = short(hashed(layer << 40, count) * scales[layer])
        bias = short(hashed((layer << 40) + (1 << 39), out) / 4)
        tensors += [weight.reshape(shape), bias]
        inputs = out
    return tensors


def pixels(first, count, side):
    """Bytes, as images lie in memory: rows, columns, channels."""
    return np.floor((hashed(first, count * side * side * 3) + 0.5) * 256).reshape(count, side, side, 3)


def nearness(x, pooled):
    """How near the nearest decision on `x`, what enters a ReLU, is to the other: for 0, and in the pool that follows."""
    near = x.abs().min()
    if pooled:
        # As ceil_mode has it: a last look may reach over the border.
        wide = F.pad(F.relu(x), [0, 1 - x.shape[3] % 2, 0, 1 - x.shape[2] % 2])
        looks = F.unfold(wide.reshape(-1, 1, *wide.shape[2:]), 3, stride=2).topk(2, dim=1).values
        gaps = looks[:, 0] - looks[:, 1]
        near = min(near, gaps[looks[:, 0] > 0].min())
    return (near / x.std()).item()


def forward(tensors, x, masks=None, outputs=None, nearest=None):
    for layer in range(8):
        weight, bias = tensors[2 * layer], tensors[2 * layer + 1]
        if layer < 5:
            x = F.conv2d(x, weight, bias, STRIDE[layer], PADDING[layer], 1, GROUPS[layer])
        else:
            x = F.linear(x.flatten(1), weight, bias)
        if nearest is not None and layer < 7:
            nearest.append(nearness(x, layer in (0, 1, 4)))
        if layer < 7:
            x = F.relu(x)
        if layer < 5:
            if layer in (0, 1, 4):
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            if layer < 2:
                x = F.local_response_norm(x, size=5, alpha=1e-4, beta=0.75, k=1.0)
        if outputs is not None:
            outputs.append(x)
        if masks is not None and layer in (5, 6):
            x = x * masks[layer - 5]
    return x


def summary(tensor):
    """Norm, sum, product with a formula, and eight numbers."""
    values = tensor.detach().double().flatten().numpy()
    at = [(len(values) - 1) * part // 7 for part in range(8)]
    return {
        "shape": list(tensor.shape), "norm": float(np.linalg.norm(values)), "sum": float(values.sum()),
        "product": float(values @ hashed(1 << 60, len(values))), "some": [float(values[index]) for index in at],
    }


def full():
    tensors = [tensor.requires_grad_() for tensor in weights(*FULL, 1000, 9216, SCALES)]
    x = pixels((8 << 40) + CHOSEN, 2, 227) - pixels((9 << 40) + CHOSEN, 1, 227)
    x = short(x.transpose(0, 3, 1, 2))
    labels = torch.tensor([7, 991])
    outputs, nearest = [], []
    with torch.no_grad():
        loss = F.cross_entropy(forward(tensors, x, outputs=outputs, nearest=nearest), labels)
    evaluated = {"outputs": [summary(output) for output in outputs], "loss": loss.item()}
    masks = [short(2.0 * (hashed(layer << 40, 2 * 4096) < 0)).reshape(2, 4096) for layer in (10, 11)]
    loss = F.cross_entropy(forward(tensors, x, masks, nearest=nearest), labels)
    loss.backward()
    gradients = [summary(tensor.grad) for tensor in tensors]
    return {**evaluated, "nearest": min(nearest), "training_loss": loss.item(), "gradients": gradients}


# Of 71 pixels each pooling leaves a last look that reaches over the border: 16, 8, 4, 2.
CLASSES, SIDE, CROP, TRAIN, VALID = 3, 76, 71, 10, 7
EPOCHS, STEPS, BATCH, RATE, DROPS, FACTOR, MOMENTUM, DECAY = 3, 4, 4, 2**-8, [2], 0.1, 0.9, 0.05


def stream(role, *more):
    return Stream([role, "seed", SEED, "split", SPLIT, "target", "B", *more])


def permutation(source, count):
    """Fisher and Yates, from the last place down."""
    items = list(range(count))
    for last in range(count - 1, 0, -1):
        other = source.below(last + 1)
        items[last], items[other] = items[other], items[last]
    return items


def bits(source, count):
    words = [source.bits() for _ in range(-(-count // 64))]
    return [words[at // 64] >> at % 64 & 1 for at in range(count)]


def narrow(frozen):
    tensors = weights(*NARROW, CLASSES, 4 * NARROW[0][4], NARROW_SCALES)
    for tensor in tensors[2 * frozen:]:
        tensor.requires_grad_()
    images, valid = pixels(12 << 40, TRAIN, SIDE), pixels(13 << 40, VALID, SIDE)
    for part in (images, valid):
        # A bright stripe of 25 rows where the label says.
        for at, image in enumerate(part):
            rows = slice(25 * (at % CLASSES), 25 * (at % CLASSES + 1))
            image[rows] = 255 - image[rows] // 4
    mean = images.mean(axis=0).astype(np.float32)
    labels = torch.arange(TRAIN) % CLASSES
    visits = [image for index in range(20) for image in permutation(stream("order", "pass", index), TRAIN)]
    velocity = [torch.zeros_like(tensor) for tensor in tensors]
    middle = (SIDE - CROP) // 2
    cut = lambda image, row, col: (image - mean)[row:row + CROP, col:col + CROP]
    enter = lambda windows: short(np.stack(windows).transpose(0, 3, 1, 2))
    epochs = []
    for epoch in range(EPOCHS):
        rate = RATE * FACTOR ** sum(drop <= epoch for drop in DROPS)
        loss_sum, correct = 0.0, 0
        for step in range(STEPS):
            batch = visits[(epoch * STEPS + step) * BATCH:][:BATCH]
            source = stream("window", "epoch", epoch, "step", step)
            windows = []
            for index in batch:
                row, col = source.below(SIDE - CROP + 1), source.below(SIDE - CROP + 1)
                window = cut(images[index], row, col)
                windows.append(window[:, ::-1] if source.below(2) else window)
            masks = []
            for name, units in zip(("fc6", "fc7"), NARROW[1]):
                kept = bits(stream("dropout", "layer", name, "epoch", epoch, "step", step), BATCH * units)
                masks.append(2 * torch.tensor(kept, dtype=torch.float64).reshape(BATCH, units))
            logits = forward(tensors, enter(windows), masks)
            loss = F.cross_entropy(logits, labels[batch])
            gradients = torch.autograd.grad(loss, tensors[2 * frozen:])
            with torch.no_grad():
                for at, gradient in enumerate(gradients, 2 * frozen):
                    bias = at % 2 == 1
                    change = gradient + (0 if bias else DECAY) * tensors[at]
                    velocity[at] = MOMENTUM * velocity[at] + (2 * rate if bias else rate) * change
                    tensors[at] -= velocity[at]
            loss_sum += loss.item() * BATCH
            correct += (logits.argmax(1) == labels[batch]).sum().item()
        with torch.no_grad():
            logits = forward(tensors, enter([cut(image, middle, middle) for image in valid]))
            loss = F.cross_entropy(logits, torch.arange(VALID) % CLASSES).item()
            right = (logits.argmax(1) == torch.arange(VALID) % CLASSES).sum().item()
        epochs.append({
            "train_loss": loss_sum / STEPS / BATCH, "train_correct": correct, "valid_loss": loss, "valid_correct": right,
        })
    return {"epochs": epochs, "weights": [summary(tensor) for tensor in tensors]}


torch.set_num_threads(1)
result = {"full": full(), "frozen 0": narrow(0), "frozen 3": narrow(3), "frozen 7": narrow(7)}
print(json.dumps(result, separators=(",", ":")))
