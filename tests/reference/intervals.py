#!/usr/bin/env python3
"""Prints how often an interval by a few targets holds the truth.

With numpy and scipy, by simulation: targets with deviation 1, runs within them with deviation 0.5, and the mean of all
runs as the quantity. In per cent of 10,000 cases: the middle 95 % of 1,000 draws of targets with replacement, as is often
done; and Student's interval by leaving out each target in turn, as src/audit/stats.rs has it. Where targets have 7 and
3 runs, as `AnB+` has in the published archive, they count by their runs.
Run it by hand: python3 tests/reference/intervals.py
"""

import numpy as np
from scipy import stats

CASES, DRAWS = 10_000, 1000
generator = np.random.default_rng(1)

print("runs of each target: the middle 95 %, Student's, %")
alike = [[runs] * targets for targets in [2, 3, 4, 7, 8] for runs in [1, 5]]
for runs in [*alike, [7, 3], [7, 3, 3, 3]]:
    targets, runs = len(runs), np.array(runs)
    middle = student = 0
    for _ in range(CASES):
        means = generator.normal(0, 1, targets) + generator.normal(0, 0.5 / runs**0.5)
        chosen = generator.integers(targets, size=(DRAWS, targets))
        drawn = (means * runs)[chosen].sum(axis=1) / runs[chosen].sum(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        middle += low <= 0 <= high
        whole = means @ runs / runs.sum()
        without = (means @ runs - means * runs) / (runs.sum() - runs)
        error = ((targets - 1) / targets * ((without - without.mean()) ** 2).sum()) ** 0.5
        student += abs(whole) <= stats.t.ppf(0.975, targets - 1) * error
    print(f"{runs.tolist()}: {100 * middle / CASES:.0f}, {100 * student / CASES:.0f}")

print("targets of either side, deviations: by the side with the fewer targets, by Welch's degrees of freedom, %")
for first, second, apart in [(2, 2, 1), (8, 4, 1), (8, 2, 1), (8, 2, 3), (2, 8, 3)]:
    sides = generator.normal(0, 1, (CASES, first)), generator.normal(0, apart, (CASES, second))
    variances = np.array([side.var(axis=1, ddof=1) / side.shape[1] for side in sides])
    freedom = np.array([[first - 1], [second - 1]])
    welch = variances.sum(axis=0) ** 2 / (variances**2 / freedom).sum(axis=0)
    error = variances.sum(axis=0) ** 0.5
    off = np.abs(sides[0].mean(axis=1) - sides[1].mean(axis=1))
    held = [100 * np.mean(off <= stats.t.ppf(0.975, of) * error) for of in (min(first, second) - 1, welch)]
    print(f"{first}, {second}; 1, {apart}: {held[0]:.1f}, {held[1]:.1f}")
