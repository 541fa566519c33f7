#!/usr/bin/env python3
"""Prints the digests and moments that the tests of src/data, src/split.rs and src/recipe.rs are held to.

Written from the description of the files and digests, not from their code, and with the standard library alone.
Run it by hand: python3 tests/reference/files.py
"""

import collections
import gzip
import hashlib
import json
import math
import pathlib
import struct
from fractions import Fraction

FIXTURE = pathlib.Path(__file__).parents[2] / "fixtures" / "data"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def canonical(value):
    """Keys in order, no white space. Python writes 1e-05 where Rust writes 1e-5, so no such number is used here."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def pieces(domain, *parts):
    """The digest of a sequence: each part, and first the domain, after its length as eight little-endian bytes."""
    hasher = hashlib.sha256()
    for part in (domain.encode(), *parts):
        hasher.update(struct.pack("<Q", len(part)) + part)
    return hasher


def image_digest(rows, cols, pixels):
    return pieces("selffer image v1", struct.pack("<Q", rows), struct.pack("<Q", cols), bytes(pixels))


def data_digest(classes, parts):
    """`parts`: for train and valid, a list of (image digest, label)."""
    sequence = [name.encode() for name in classes]
    for name, images in parts.items():
        sequence.append(name.encode())
        for image, label in images:
            sequence += [image.digest(), struct.pack("<H", label)]
    return pieces("selffer data v1", *sequence).hexdigest()


def small():
    """Four classes of 2×2 images: train image i is [i, i+1, i+2, i+3] of class i mod 4, valid likewise from 100."""
    classes = ["a", "b", "c", "d"]
    parts = {}
    for name, first, count in (("train", 0, 8), ("valid", 100, 4)):
        images = [image_digest(2, 2, range(first + i, first + i + 4)) for i in range(count)]
        parts[name] = [(image, i % 4) for i, image in enumerate(images)]
    digest = data_digest(classes, parts)
    print("small data", digest)

    def entry(label):
        images = {part: [i.hexdigest() for i, l in both if l == label] for part, both in parts.items()}
        return {"name": classes[label], **images}

    split = {"format": "selffer split 1", "name": "two-two", "data": digest}
    split |= {"A": [entry(0), entry(2)], "B": [entry(1), entry(3)]}
    print("small split", len(canonical(split)), sha256(canonical(split)))


def recipe():
    value = {
        "core": 2,
        "numerics": "portable",
        "data": sha256(b"data"),
        "split": sha256(b"split"),
        "seed": 2**64 - 1,
        "treatment": "A3B+",
        "parent": sha256(b"parent"),
        "network": {"conv": [2, 3, 2, 3, 2], "hidden": [4, 3], "filler": {"gaussian": 0.01}},
        "solver": {
            "epochs": 2,
            "batch": 5,
            "rate": 0.05,
            "rate_drops": [1],
            "rate_factor": 0.1,
            "momentum": 0.9,
            "decay": 0.0005,
        },
    }
    print("recipe", sha256(canonical(value)))
    value |= {"parent": None, "treatment": "baseA"}
    value["network"]["filler"] = "he"
    value["solver"]["rate_factor"] = 1.0
    print("base recipe", sha256(canonical(value)))


def idx(name, rank):
    data = gzip.decompress((FIXTURE / name).read_bytes())
    dims = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
    return dims, data[4 + 4 * rank :]


def embedded():
    classes = (FIXTURE / "classes.txt").read_text().split()
    parts = {}
    for name, prefix in (("train", "train"), ("valid", "t10k")):
        (count, rows, cols), pixels = idx(f"{prefix}-images-idx3-ubyte.gz", 3)
        _, labels = idx(f"{prefix}-labels-idx1-ubyte.gz", 1)
        size = rows * cols
        images = [image_digest(rows, cols, pixels[i * size : (i + 1) * size]) for i in range(count)]
        parts[name] = list(zip(images, labels))
        print("embedded", name, count, dict(collections.Counter(labels)))
        if name == "train":
            counts = collections.Counter(pixels)
            total = Fraction(sum(counts.values()))
            mean = sum(Fraction(value, 255) * n for value, n in counts.items()) / total
            variance = sum((Fraction(value, 255) - mean) ** 2 * n for value, n in counts.items()) / total
            print("embedded mean", repr(float(mean)), "deviation", repr(math.sqrt(variance)))
    digests = [image.digest() for images in parts.values() for image, _ in images]
    print("embedded images", len(digests), "different", len(set(digests)))
    print("embedded data", data_digest(classes, parts))


if __name__ == "__main__":
    small()
    recipe()
    embedded()
