#!/usr/bin/env python3
"""Prints how often a comparison of accuracies by kind of treatment is deceived, and what it sees.

With numpy and scipy, by simulation of what src/verify/statistical.rs has: each unit's difference is the truth plus
normal noise of that deviation between machines; the interval is the wider of z standard errors by the sampling of
images and t(units - 1) standard errors between units, both at one level. Of 200,000 cases:

- how often a kind that is 2 points off is called the same (one unit is taken by its images alone, to show why it is
  undecided there), for the worst of the deviations;
- how often an honest audit by other code has one of seven kinds far off, for the worst of the deviations: at the
  margin itself, and without a difference;
- by how many points all networks of a kind have to be off to be found far off in 95 % of cases.

Run it by hand: python3 tests/reference/families.py
"""

import numpy as np
from scipy import stats

MARGIN, SHARE, CASES = 0.02, 0.87, 200_000
DEVIATIONS = [0.002, 0.005, 0.01, 0.02, 0.03, 0.05]
generator = np.random.default_rng(1)


def compared(units, images, deviation, truth, level):
    """Mean differences, and half of their intervals."""
    differences = generator.normal(truth, deviation, (CASES, units))
    sampling = (2 * SHARE * (1 - SHARE) / (images + 1) / units) ** 0.5
    half = stats.norm.ppf(level) * sampling
    if units > 1:
        between = differences.std(axis=1, ddof=1) / units**0.5
        half = np.maximum(half, stats.t.ppf(level, units - 1) * between)
    return differences.mean(axis=1), half


def within(units, images, deviation, truth):
    mean, half = compared(units, images, deviation, truth, 0.95)
    return 100 * np.mean((mean - half >= -MARGIN) & (mean + half <= MARGIN))


def far(units, images, deviation, truth, kinds):
    mean, half = compared(units, images, deviation, truth, 1 - 0.025 / kinds)
    return 100 * np.mean(np.abs(mean) - half > MARGIN)


def found(units, images, deviation, kinds):
    """The least tenth of a point by which a kind has to be off to be far off in 95 % of cases; None above 30 points."""
    mean, half = compared(units, images, deviation, 0.0, 1 - 0.025 / kinds)
    off = float(np.quantile(MARGIN + half - mean, 0.95))
    return round(100 * off, 1) if off < 0.3 else None


print("units, images a network: within, at the margin, %; within, without a difference and deviation 0.005, %")
for units in [1, 2, 3, 4, 5]:
    for images in [1000, 5000, 10000, 50000]:
        worst = max(within(units, images, deviation, MARGIN) for deviation in DEVIATIONS)
        print(f"{units}, {images}: {worst:.1f}; {within(units, images, 0.005, 0.0):.1f}")

print("units, images a network: any of seven kinds far off, at the margin and without a difference, at the most, %")
for units in [2, 3, 6, 12]:
    for images in [200, 1000, 50000]:
        chances = [
            max(100 * (1 - (1 - far(units, images, deviation, truth, 7) / 100) ** 7) for deviation in DEVIATIONS)
            for truth in [MARGIN, 0.0]
        ]
        print(f"{units}, {images}: {chances[0]:.1f}, {chances[1]:.1f}")

print("units, images a network: points off that are found, with a deviation of 0.002, 0.005 and 0.02")
for units in [2, 3, 6, 12]:
    for images in [200, 1000, 50000]:
        print(f"{units}, {images}:", *(found(units, images, deviation, 7) for deviation in [0.002, 0.005, 0.02]))
