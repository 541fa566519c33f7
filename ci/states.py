#!/usr/bin/env python3
"""How far two states of one network are from each other, as shares: of each tensor the length of the difference by the
length of the second's. For ci/gpu, which holds what a GPU comes to after a few steps against the CPU.

    states.py LEFT RIGHT MOST    two of a store's snapshots. Exit code 1 where a tensor of momentum is further off than MOST,
                                 2 where they are no states of one network

A snapshot is a line with its digest and a safetensors file (src/snapshot.rs). Momentum is what gradients came to, so that
it shows what weights hide, which hardly move in a few steps. Nothing but Python's own library is needed.
"""

import array
import json
import math
import struct
import sys

CHUNK = 1 << 20


def state(path):
    """The tensors of momentum, by name."""
    try:
        return dict(tensors(path))
    except (OSError, ValueError, KeyError, struct.error) as error:
        unable(f"{path} is no snapshot: {error}")


def tensors(path):
    with open(path, "rb") as file:
        file.readline()
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        start = file.tell()
        for name, tensor in sorted(header.items()):
            if not name.startswith("momentum."):
                continue
            if tensor["dtype"] != "F32":
                unable(f"{path}: {name} is {tensor['dtype']}, not F32")
            begin, end = tensor["data_offsets"]
            file.seek(start + begin)
            numbers = array.array("f", file.read(end - begin))
            if sys.byteorder == "big":
                numbers.byteswap()
            yield name, numbers


def unable(why):
    print(f"ci/states.py: {why}", file=sys.stderr)
    sys.exit(2)


def length(left, right=None):
    """The length of a list of numbers, or of the difference of two."""
    squares = []
    for at in range(0, len(left), CHUNK):
        one = left[at : at + CHUNK]
        other = right[at : at + CHUNK] if right else array.array("f", bytes(4 * len(one)))
        squares.append(math.dist(one, other) ** 2)
    return math.sqrt(math.fsum(squares))


def main():
    left, right, most = sys.argv[1], sys.argv[2], float(sys.argv[3])
    left, right = state(left), state(right)
    sizes = [{name: len(numbers) for name, numbers in side.items()} for side in (left, right)]
    if sizes[0] != sizes[1] or not left:
        unable("they are not states of one network")
    furthest, far = ("", -1.0), 0
    for name, numbers in right.items():
        size = length(numbers)
        # Momentum that is nothing says nothing, and what is no number is never near.
        apart = length(left[name], numbers) / size if size else math.inf
        if not apart <= most:
            far += 1
            print(f"{name} is {apart:.1e} off, more than {most:g}")
        furthest = max(furthest, (name, apart), key=lambda one: one[1])
    print(f"of {len(right)} tensors {furthest[0]} is furthest off: {furthest[1]:.1e}")
    return 1 if far else 0


sys.exit(main())
