#!/usr/bin/env python3
"""Prints the tensors of a checkpoint, as the Python package safetensors reads them, and the digests of its layers.

The tests of src/weights.rs hold a small fixed network to what this printed of it once, in checkpoint.txt. They write
the network's file where SELFFER_CHECKPOINT says. The packages are needed by nothing else:
pip install safetensors numpy, then python3 tests/reference/checkpoint.py FILE
"""

import hashlib
import struct
import sys

from safetensors import safe_open

LAYERS = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]


def pieces(domain, *parts):
    """The digest of a sequence: each part, and first the domain, after its length as eight little-endian bytes."""
    hasher = hashlib.sha256()
    for part in (domain.encode(), *parts):
        hasher.update(struct.pack("<Q", len(part)) + part)
    return hasher.digest()


def main(path):
    with open(path, "rb") as file:
        print("file", hashlib.sha256(file.read()).hexdigest())
    with safe_open(path, framework="numpy") as file:
        print("metadata", file.metadata(), "tensors", len(file.keys()))
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    layers = []
    for layer in LAYERS:
        parts = []
        for name in (f"{layer}.weight", f"{layer}.bias"):
            tensor = tensors.pop(name)
            bits = tensor.astype("<f4").view("<u4").ravel()
            print(name, tensor.dtype, list(tensor.shape), " ".join(f"{word:08x}" for word in bits))
            dims = [struct.pack("<Q", dim) for dim in tensor.shape]
            parts += [name.encode(), b"F32", struct.pack("<Q", tensor.ndim), *dims, tensor.astype("<f4").tobytes()]
        layers.append(pieces("selffer layer v1", *parts))
    assert not tensors, tensors.keys()
    for count in range(len(layers) + 1):
        print(f"first {count} layers", pieces("selffer weights v1", *layers[:count]).hex())


if __name__ == "__main__":
    main(sys.argv[1])
