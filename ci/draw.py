"""Draws images for a network of the paper's size: python3 ci/draw.py DIR SIDE TRAIN VALID, PNG files of six classes, so many of
each for training and validation, that show next to nothing. ci/gpu and ci/portability pack them.
"""

import math
import os
import random
import struct
import sys
import zlib

root, side, train, valid = sys.argv[1], *map(int, sys.argv[2:])
draw = random.Random(1)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# A class is a direction and a width of stripes; an image is where they begin, and noise.
for number in range(6):
    angle, width = number * math.pi / 6, 5 + 3 * number
    for part, count in [("train", train), ("valid", valid)]:
        folder = os.path.join(root, part, f"class-{number}")
        os.makedirs(folder)
        for image in range(count):
            phase, noise = draw.random() * 7, [draw.randrange(60) for _ in range(997)]
            rows = bytearray()
            for row in range(side):
                rows.append(0)
                for col in range(side):
                    place = (row * math.sin(angle) + col * math.cos(angle)) / width + phase
                    level = int(100 + 90 * math.sin(place)) + noise[(row * side + col) % 997]
                    rows += bytes((min(level, 255), max(level - 40, 0), noise[(col * 31 + row) % 997]))
            header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
            with open(os.path.join(folder, f"{image}.png"), "wb") as file:
                file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header))
                file.write(chunk(b"IDAT", zlib.compress(bytes(rows), 1)) + chunk(b"IEND", b""))
