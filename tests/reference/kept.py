#!/usr/bin/env python3
"""Prints what autograd keeps of an image of the paper's network for the way back, beside what `selffer plan` counts of it.

The convolutions alone, as selffer's `net` has them: the channel fastest in memory, normalisation written out. PyTorch's own
hooks name each tensor that is saved; the weights are not counted. It adds up what is kept, not what a GPU's allocator takes.
Run it by hand, with a Python that has PyTorch: python3 tests/reference/kept.py
"""

import torch
import torch.nn.functional as F

IMAGES = 2
# Channels out and in (of a group), kernel, stride, padding, groups, whether pooling follows.
LAYERS = [
    (96, 3, 11, 4, 0, 1, True),
    (256, 48, 5, 1, 2, 2, True),
    (384, 256, 3, 1, 1, 1, False),
    (384, 192, 3, 1, 1, 2, False),
    (256, 192, 3, 1, 1, 2, True),
]


def normalised(x):
    """x / (1 + alpha / 5 * the squares of five neighbours) ** 0.75."""
    x = x.permute(0, 2, 3, 1).contiguous()
    images, rows, columns, channels = x.shape
    squares = (x * x).reshape(images, 1, rows * columns, channels)
    scale = F.avg_pool2d(squares, [1, 5], [1, 1], [0, 2], False, True) * 1e-4 + 1.0
    half = scale.rsqrt()
    return (x * (half * (scale * half).rsqrt()).reshape(x.shape)).permute(0, 3, 1, 2)


weights = [
    (torch.zeros(out, of, kernel, kernel, requires_grad=True), torch.zeros(out, requires_grad=True))
    for out, of, kernel, *_ in LAYERS
]
own = {tensor.untyped_storage().data_ptr() for pair in weights for tensor in pair}
kept = {}


def keep(tensor):
    storage = tensor.untyped_storage()
    if storage.data_ptr() not in own:
        # The tensor too, so that its memory is not given to another.
        kept[storage.data_ptr()] = (storage.nbytes(), tensor)
    return tensor


put_out = 0
with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
    x = torch.zeros(IMAGES, 227, 227, 3).permute(0, 3, 1, 2)
    for at, ((weight, bias), (_, _, _, stride, pad, groups, pooled)) in enumerate(zip(weights, LAYERS)):
        x = F.relu(F.conv2d(x, weight, bias, stride, pad, 1, groups))
        put_out += x[0].numel()
        x = F.max_pool2d(x, 3, 2, ceil_mode=True) if pooled else x
        x = normalised(x) if at < 2 else x

mebibytes = sum(size for size, _ in kept.values()) / 2**20 / IMAGES
# As src/cost.rs has it: what layers put out, 1000 classes among it, and a window as numbers with the bytes of two more.
counted = 4 * (put_out + 2 * 4096 + 1000 + 1.5 * 3 * 227**2) / 2**20
print(f"autograd keeps {mebibytes:.1f} MiB an image, and the plan counts {counted:.1f}")
