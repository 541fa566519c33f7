#!/usr/bin/env python3
"""Prints how often a golden comparison by accuracy calls a kind of treatment the same that is 2 points off.

With numpy and scipy, by simulation: each unit's difference is the margin plus normal noise of that deviation between
machines; the interval is the wider of 1.645 standard errors by the sampling of images and t(0.95, units - 1) standard
errors between units, as src/verify/statistical.rs has it. One unit is taken here by its images alone, to show why it is
undecided there. Per cent of 200,000 cases, for the worst of the deviations.
Run it by hand: python3 tests/reference/families.py
"""

import numpy as np
from scipy import stats

MARGIN, SHARE, CASES = 0.02, 0.87, 200_000
DEVIATIONS = [0.002, 0.005, 0.01, 0.02, 0.03, 0.05]
generator = np.random.default_rng(1)


def within(units, images, deviation, truth):
    differences = generator.normal(truth, deviation, (CASES, units))
    mean = differences.mean(axis=1)
    sampling = (2 * SHARE * (1 - SHARE) / (images + 1) / units) ** 0.5
    half = stats.norm.ppf(0.95) * sampling
    if units > 1:
        between = differences.std(axis=1, ddof=1) / units**0.5
        half = np.maximum(half, stats.t.ppf(0.95, units - 1) * between)
    return 100 * np.mean((mean - half >= -MARGIN) & (mean + half <= MARGIN))


print("units, images a network: within, at the margin, %; within, without a difference and deviation 0.005, %")
for units in [1, 2, 3, 4, 5]:
    for images in [1000, 5000, 10000, 50000]:
        worst = max(within(units, images, deviation, MARGIN) for deviation in DEVIATIONS)
        print(f"{units}, {images}: {worst:.1f}; {within(units, images, 0.005, 0.0):.1f}")
