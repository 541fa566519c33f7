"""What PyTorch makes of a small training run: prints training.json, to which tests/training.rs holds
selffer's training loop.

    python3 tests/reference/training.py > tests/reference/training.json

It needs PyTorch (the file is of 2.11.0: pip install torch==2.11.0) and nothing of selffer: images and first
weights are formulas, written down once here and once in the test. Weights are numbers that 32 bits hold; all is computed in 64 bits, which
makes it the same on every processor. The order of the training images is
the recipe's, and the test checks that it is.
"""

import json

import torch
import torch.nn.functional as F

CONV, HIDDEN, CLASSES, SIDE = [5, 6, 7, 6, 5], [9, 8], 3, 12
TRAIN, VALID = 26, 260
MEAN, DEVIATION = 0.4, 0.25
BATCH, RATE, RATE_FACTOR, MOMENTUM, DECAY = 10, 0.05, 0.1, 0.9, 0.01
ORDERS = [
    [13, 21, 17, 14, 12, 5, 25, 7, 11, 23, 3, 9, 15, 1, 16, 24, 0, 22, 19, 6, 10, 4, 18, 2, 8, 20],
    [14, 9, 2, 0, 19, 23, 25, 13, 8, 1, 16, 12, 20, 10, 17, 7, 11, 18, 15, 22, 24, 5, 4, 21, 6, 3],
]
NAMES = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
# A power of two near what He et al. would take, for weights between -1 and 1 times it.
SCALES = [1, 0.5, 0.25, 0.25, 0.25, 1, 1, 0.5]


def mixed(index):
    """Numbers in 0..1009 that look random."""
    return (index * index * 31 + index * 7919) % 1009


def images(first, count):
    """Noise, with a bright stripe of four columns where the label says."""
    labels = [index % CLASSES for index in range(count)]
    pixels = [
        mixed(first + (image * SIDE + row) * SIDE + col) % 128 + (100 if col // 4 == label else 0)
        for image, label in enumerate(labels) for row in range(SIDE) for col in range(SIDE)
    ]
    x = torch.tensor(pixels, dtype=torch.float64).reshape(count, 1, SIDE, SIDE)
    return (x / 255 - MEAN) / DEVIATION, torch.tensor(labels)


def first_weights():
    tensors, inputs = [], 1
    for layer, out in enumerate(CONV + HIDDEN + [CLASSES]):
        # After three poolings of 12 pixels there is one.
        shape = [out, inputs, 3, 3] if layer < 5 else [out, inputs]
        count = torch.Size(shape).numel()
        values = [(mixed(10_007 * layer + index) - 504) / 512 * SCALES[layer] for index in range(count)]
        tensors += [torch.tensor(values).double().reshape(shape), torch.zeros(out).double()]
        inputs = out
    return tensors


def forward(tensors, x):
    for layer in range(8):
        weight, bias = tensors[2 * layer], tensors[2 * layer + 1]
        if layer < 5:
            x = F.relu(F.conv2d(x, weight, bias, padding=1))
            if layer in (0, 1, 4):
                x = F.max_pool2d(x, 2)
        else:
            x = F.linear(x.flatten(1), weight, bias)
            if layer < 7:
                x = F.relu(x)
    return x


def right(logits, labels):
    return (logits.argmax(1) == labels).sum().item()


def train(frozen):
    tensors = first_weights()
    for tensor in tensors[2 * frozen:]:
        tensor.requires_grad_()
    (x, y), (valid_x, valid_y) = images(0, TRAIN), images(500_000, VALID)
    optimizer = torch.optim.SGD(tensors[2 * frozen:], lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[1], gamma=RATE_FACTOR)
    epochs = []
    for order in ORDERS:
        loss_sum, correct = 0.0, 0
        for batch in torch.tensor(order).split(BATCH):
            logits = forward(tensors, x[batch])
            loss = F.cross_entropy(logits, y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(batch)
            correct += right(logits, y[batch])
        schedule.step()
        with torch.no_grad():
            logits = forward(tensors, valid_x)
            valid_loss = F.cross_entropy(logits, valid_y).item()
        epochs.append({
            "train_loss": loss_sum / TRAIN, "train_correct": correct,
            "valid_loss": valid_loss, "valid_correct": right(logits, valid_y),
        })
    weights = {}
    for index, tensor in enumerate(tensors):
        values = tensor.detach().double().flatten()
        weights[f"{NAMES[index // 2]}.{('weight', 'bias')[index % 2]}"] = {
            "sum": values.sum().item(), "norm": values.norm().item(),
            "first": values[0].item(), "last": values[-1].item(),
        }
    return {"epochs": epochs, "weights": weights}


torch.set_num_threads(1)
print(json.dumps({"orders": ORDERS, "frozen 0": train(0), "frozen 3": train(3)}, separators=(",", ":")))
