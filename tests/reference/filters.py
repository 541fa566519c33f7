#!/usr/bin/env python3
"""Writes filters.json: what tests of src/gabor and src/filters are held to.

`fits`: filters (a Gabor function, one with noise, noise alone; grey and colour) with the share of variance that
scipy.optimize.curve_fit explains of each, the best of many starts, by the formula alone: all numbers of a function are
searched for at once, within the bounds that src/gabor/search.rs has. `learnt`: filters that independent component
analysis (scikit-learn's FastICA) learns from patches of two photographs that come with scikit-learn, grey and colour,
and of the embedded garments. Nothing here knows selffer's code. The packages are needed by nothing else:
pip install numpy scipy scikit-learn pillow, then python3 tests/reference/filters.py
"""

import gzip
import json
import pathlib
import warnings

import numpy as np
from scipy.optimize import curve_fit
from sklearn.datasets import load_sample_images
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

HERE = pathlib.Path(__file__).parent
STARTS = 40


def gabor(points, x, y, turn, wavelength, along, across, *heights):
    """Heights are three for each channel: even, odd, offset."""
    xs, ys = points
    u = (xs - x) * np.cos(turn) + (ys - y) * np.sin(turn)
    v = (ys - y) * np.cos(turn) - (xs - x) * np.sin(turn)
    envelope = np.exp(-(u**2) / (2 * along**2) - v**2 / (2 * across**2))
    wave = 2 * np.pi * u / wavelength
    parts = [
        even * envelope * np.cos(wave) + odd * envelope * np.sin(wave) + offset
        for even, odd, offset in zip(heights[::3], heights[1::3], heights[2::3])
    ]
    return np.concatenate(parts)


def grid(side):
    middle = (side - 1) / 2
    ys, xs = np.mgrid[:side, :side] - middle
    return xs.ravel(), ys.ravel()


def best(values, side, channels, rng):
    """The largest share that is explained from any start, and its numbers."""
    values = (values - values.mean()) / values.std()
    points = grid(side)
    narrow = max(side / 10, 0.7)
    low = [-side / 2, -side / 2, -10, 2, narrow, narrow] + [-np.inf] * (3 * channels)
    high = [side / 2, side / 2, 10, 4 * side, side, side] + [np.inf] * (3 * channels)
    most, found = 0.0, None
    for _ in range(STARTS):
        wavelength = np.exp(rng.uniform(np.log(2.2), np.log(2.5 * side)))
        widths = np.exp(rng.uniform(np.log(narrow * 1.05), np.log(side / 2), size=2))
        start = [*rng.uniform(-side / 3, side / 3, size=2), rng.uniform(0, np.pi), wavelength, *widths]
        start += [*rng.normal(size=3 * channels)]
        try:
            numbers, _ = curve_fit(gabor, points, values, start, bounds=(low, high), max_nfev=300)
        except RuntimeError:
            continue
        left = ((gabor(points, *numbers) - values) ** 2).sum() / (values**2).sum()
        if 1 - left > most:
            most, found = 1 - left, numbers
    return most, found


def made_up(side, channels, noise, rng):
    heights = []
    for _ in range(channels):
        phase = rng.uniform(-np.pi, np.pi)
        height = rng.uniform(0.5, 2)
        heights += [height * np.cos(phase), height * np.sin(phase), rng.normal() / 4]
    numbers = [
        *rng.uniform(-side / 6, side / 6, size=2),
        rng.uniform(0, np.pi),
        rng.uniform(0.5, 1.2) * side,
        *rng.uniform(side / 6, side / 3, size=2),
    ]
    wave = gabor(grid(side), *numbers, *heights)
    return numbers, wave + noise * wave.std() * rng.normal(size=wave.size)


def fits(rng):
    for side, channels, noise in [
        (7, 1, 0), (11, 1, 0), (7, 3, 0), (5, 1, 0.3), (7, 1, 0.3), (7, 1, 1), (11, 1, 0.5), (11, 3, 0.5),
        (5, 1, None), (7, 1, None), (7, 1, None), (7, 3, None), (11, 1, None),
    ]:
        if noise is None:
            numbers, values = None, rng.normal(size=channels * side**2)
        else:
            numbers, values = made_up(side, channels, noise, rng)
        values = values.astype(np.float32).astype(float)
        explained, _ = best(values, side, channels, rng)
        print(side, channels, noise, explained, flush=True)
        yield {
            "side": side,
            "channels": channels,
            "noise": noise,
            "shape": numbers and [round(float(number), 9) for number in numbers],
            "values": [float(np.float32(value)) for value in values],
            "explained": explained,
        }


def patches(images, side, count, rng):
    """Random patches, channels first."""
    chosen = []
    for _ in range(count):
        image = images[rng.integers(len(images))]
        y, x = (rng.integers(size - side + 1) for size in image.shape[:2])
        chosen.append(image[y : y + side, x : x + side].transpose(2, 0, 1).ravel())
    return np.array(chosen, float)


def photographs(colour):
    images = [image / 255 for image in load_sample_images().images]
    # Smaller, so that a patch shows more than one edge's blur.
    small = [image[: h // 2 * 2, : w // 2 * 2].reshape(h // 2, 2, w // 2, 2, 3).mean((1, 3))
             for image in images for h, w, _ in [image.shape]]
    return small if colour else [image.mean(2, keepdims=True) for image in small]


def garments():
    raw = gzip.open(HERE / "../../fixtures/data/train-images-idx3-ubyte.gz").read()
    labels = np.frombuffer(gzip.open(HERE / "../../fixtures/data/train-labels-idx1-ubyte.gz").read()[8:], np.uint8)
    images = np.frombuffer(raw[16:], np.uint8).reshape(-1, 28, 28, 1) / 255
    return images[labels >= 10]


def learnt(rng):
    for name, images, side, filters in [
        ("photographs", photographs(False), 7, 24), ("photographs", photographs(False), 11, 24),
        ("photographs in colour", photographs(True), 7, 32), ("garments", garments(), 7, 24),
        ("garments", garments(), 11, 24), ("garments", garments(), 3, 8), ("photographs", photographs(False), 3, 8),
    ]:
        some = patches(images, side, 6000, rng)
        some -= some.mean(1, keepdims=True)
        analysis = FastICA(filters, whiten="unit-variance", random_state=0, max_iter=400, tol=1e-3)
        analysis.fit(some)
        mixing = analysis.mixing_.T
        mixing /= np.abs(mixing).max(1, keepdims=True)
        channels = images[0].shape[2]
        print(name, side, channels, mixing.shape, flush=True)
        yield {
            "from": name,
            "shape": [filters, channels, side, side],
            "values": [round(float(value), 3) for value in mixing.ravel()],
        }


def main():
    warnings.simplefilter("ignore", ConvergenceWarning)
    rng = np.random.default_rng(5)
    result = {"fits": list(fits(rng)), "learnt": list(learnt(rng))}
    (HERE / "filters.json").write_text(json.dumps(result, separators=(",", ":")).replace("},{", "},\n{") + "\n")


if __name__ == "__main__":
    main()
