#!/usr/bin/env python3
"""Holds `selffer data pack` to the tools of the paper: OpenCV's imread and resize, on images drawn here.

    pip install opencv-python-headless pillow numpy
    python3 tests/reference/decoding.py target/release/selffer

Caffe's convert_imageset read each file with cv::imread(…, CV_LOAD_IMAGE_COLOR) and made it 256×256 with cv::resize and its
defaults. PNG files lose nothing, so there every byte has to be OpenCV's: that is the resize. JPEG decoders round
differently; TOLERANCE says how far a byte may lie off, and how far on average. Also prints the digests that the tests of
src/data/resize.rs are held to. Exit status 1 where something is off.
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

import cv2
import numpy as np
from PIL import Image

# Largest difference of a byte, share of bytes that are off by more than 4, and mean difference. With subsampled chroma, the
# two decoders interpolate otherwise, most in the last column of images of some widths: an eighth of the smallest one here.
TOLERANCE = {"png": (0, 0.0, 0.0), "whole": (4, 0.0, 0.05), "subsampled": (40, 0.01, 0.5)}
SUBSAMPLED = ("420.jpg", "422.jpg", "progressive.jpg", "restarts.jpg")
SIDES = (256, 64, 227)


def mixed(index):
    """Numbers in 0..1009 that look random."""
    return (index * index * 31 + index * 7919) % 1009


def formula(rows, cols):
    """An image of numbers that a test can make as well."""
    at = np.arange(rows * cols * 3, dtype=np.int64)
    return (mixed(at) % 256).astype(np.uint8).reshape(rows, cols, 3)


def drawn(rows, cols, generator):
    """Smooth waves and hard edges in colour, as photographs have them."""
    y, x = np.mgrid[0:rows, 0:cols]
    planes = []
    for _ in range(3):
        a, b, c, d = generator.uniform(2, 12, 4)
        plane = 127 + 70 * np.sin(a * x / cols + b * y / rows) + 50 * np.cos(c * x / cols - d * y / rows)
        planes.append(plane)
    image = np.stack(planes, -1)
    for _ in range(6):
        top, left = generator.integers(0, rows), generator.integers(0, cols)
        image[top : top + rows // 4, left : left + cols // 5] = generator.integers(0, 256, 3)
    return np.clip(image + generator.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def write(directory, generator):
    """Files of every kind, each with its kind of tolerance."""
    kinds = {}
    for rows, cols in ((375, 500), (500, 375), (96, 130), (512, 512), (256, 256), (31, 700), (1200, 1600), (9, 8), (128, 64)):
        image = drawn(rows, cols, generator)
        rgb = Image.fromarray(image)
        grey = rgb.convert("L")
        variants = {
            "png": (rgb, {}),
            "grey.png": (grey, {}),
            "alpha.png": (rgb.convert("RGBA"), {}),
            "palette.png": (rgb.quantize(64), {}),
            "444.jpg": (rgb, {"quality": 95, "subsampling": 0}),
            "422.jpg": (rgb, {"quality": 90, "subsampling": 1}),
            "420.jpg": (rgb, {"quality": 85, "subsampling": 2}),
            "progressive.jpg": (rgb, {"quality": 90, "progressive": True}),
            "restarts.jpg": (rgb, {"quality": 90, "restart_marker_rows": 1}),
            "grey.jpg": (grey, {"quality": 90}),
            "cmyk.jpg": (rgb.convert("CMYK"), {"quality": 90}),
        }
        for name, (picture, options) in variants.items():
            ending = "png" if name.endswith("png") else "JPEG"
            path = directory / f"{rows}x{cols}-{name.split('.')[0]}.{ending}"
            picture.save(path, "PNG" if ending == "png" else "JPEG", **options)
            kind = "png" if ending == "png" else "subsampled" if name in SUBSAMPLED else "whole"
            kinds[path.name] = (kind, name)
    return kinds


def main(selffer):
    generator = np.random.default_rng(1)
    bad = False
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for part in ("train", "valid"):
            for name in ("a", "b"):
                (scratch / "from" / part / name).mkdir(parents=True)
        kinds = write(scratch / "from/train/a", generator)
        for place in ("train/b", "valid/a", "valid/b"):
            Image.fromarray(formula(16, 16)).save(scratch / "from" / place / "one.png")
        for side in SIDES:
            pack = scratch / f"pack-{side}"
            subprocess.run(
                [selffer, "data", "pack", scratch / "from", pack, "--size", str(side), "--quiet"],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            names = json.loads((pack / "train-00000.json").read_text())["names"]
            pixels = np.fromfile(pack / "train-00000.shard", np.uint8).reshape(-1, side, side, 3)
            seen = {}
            for name, found in zip(names, pixels):
                name = name.split("/")[1]
                if name not in kinds:
                    continue
                flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
                read = cv2.imread(str(scratch / "from/train/a" / name), flags)
                expected = cv2.resize(read, (side, side))[:, :, ::-1]
                off = np.abs(found.astype(int) - expected.astype(int))
                kind, variant = kinds[name]
                seen.setdefault((kind, variant), []).append(off.ravel())
            for (kind, variant), off in sorted(seen.items()):
                off = np.concatenate(off)
                found = int(off.max()), float((off > 4).mean()), float(off.mean())
                good = all(value <= most for value, most in zip(found, TOLERANCE[kind]))
                bad |= not good
                print(
                    f"{side}: {variant:16} largest {found[0]:3}, off by more than 4: {100 * found[1]:.3f} %,"
                    f" mean {found[2]:.4f}{'' if good else '  OFF'}"
                )
    for rows, cols, side in ((37, 23, 16), (23, 37, 64), (200, 301, 256), (48, 96, 24)):
        made = cv2.resize(formula(rows, cols), (side, side))
        print(f"({rows}, {cols}, {side}, \"{hashlib.sha256(made.tobytes()).hexdigest()}\"),")
    return bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
