#!/usr/bin/env python3
"""Prints the values that the tests of src/equivalence.rs hold intervals, samples and what is far off to, and numbers of METHODOLOGY.md.

With the standard library alone: the interval is that of a difference of two multinomial shares after half an image was
added to each cell (Agresti and Min 2005), the normal quantile is statistics.NormalDist's, the sample's share is counted in
whole binomials.
Run it by hand: python3 tests/reference/equivalence.py
"""

from math import comb, exp, lgamma, log, sqrt
from statistics import NormalDist

z = NormalDist().inv_cdf(0.95)
print("images, left alone, right alone: low, high")
for images, left, right in [(1000, 30, 10), (1000, 0, 0), (50, 3, 9), (2000, 100, 150)]:
    shares = [(left + 0.5) / (images + 2), (right + 0.5) / (images + 2)]
    difference = shares[0] - shares[1]
    variance = (sum(shares) - difference**2) / (images + 2)
    print(images, left, right, difference - z * variance**0.5, difference + z * variance**0.5)

# How often two networks of which one has 2 points more, all disagreement one way, come out within 2 points.
print("images: chance of equivalence at the margin itself")
for images in [100, 200, 500, 1000, 2000]:
    margin, chance = 0.02, 0.0
    for alone in range(images + 1):
        shares = [(alone + 0.5) / (images + 2), 0.5 / (images + 2)]
        difference = shares[0] - shares[1]
        error = ((sum(shares) - difference**2) / (images + 2)) ** 0.5
        if -margin <= difference - z * error and difference + z * error <= margin:
            ways = lgamma(images + 1) - lgamma(alone + 1) - lgamma(images - alone + 1)
            chance += exp(ways + alone * log(margin) + (images - alone) * log(1 - margin))
    print(images, f"{100 * chance:.1f} %")

print("total, sampled: most unseen")
for total, sampled in [(103, 5), (103, 10), (103, 30), (103, 102), (20, 1)]:
    unlikely = [m for m in range(total - sampled + 1) if comb(total - m, sampled) / comb(total, sampled) > 0.05]
    print(total, sampled, max(unlikely))

# Two-sided 5 % points by Bonferroni, and the bound of a normal's tail that is taken for them.
print("compared: standard deviations, those that are taken")
for compared in [1, 23, 103]:
    print(compared, round(NormalDist().inv_cdf(1 - 0.025 / compared), 2), round(sqrt(2 * log(compared / 0.05)), 2))


def far_off(compared, margin, *sides):
    """More than this is far off, for right answers and images of each side: half an image is added to either side of a count."""
    shares = [((right + 0.5) / (images + 1), images + 1) for right, images in sides]
    variance = sum(share * (1 - share) / images for share, images in shares)
    return margin + sqrt(2 * log(compared / 0.05) * variance)


print("images, share right when trained again, compared: points by which a record may be worse or better and not be far off")
for images, share, compared in [(200, 0.65, 23), (1000, 0.9, 103), (25000, 0.62, 103)]:
    trained, points = round(share * images), []
    for way in [-1, 1]:
        off = 0
        while 0 <= trained + way * (off + 1) <= images and (off + 1) / images <= far_off(
            compared, 0.02, (trained, images), (trained + way * (off + 1), images)
        ):
            off += 1
        points.append(round(100 * off / images, 1))
    print(images, share, compared, *points)

# Of networks that guess one in so many is above chance, by 3 and by 4 standard deviations, and what counts as chance.
print("images, classes: one in so many above, right answers at chance; by 3 deviations and by 4")
for images, classes in [(100, 4), (200, 10), (1000, 10), (10_000, 20), (25_000, 500), (50_000, 1000)]:
    guess, found = 1 / classes, []
    for deviations in [3, 4]:
        most = int(guess * images + deviations * sqrt(guess * (1 - guess) * images))
        ways = lambda right: lgamma(images + 1) - lgamma(right + 1) - lgamma(images - right + 1)
        above = sum(exp(ways(k) + k * log(guess) + (images - k) * log(1 - guess)) for k in range(most + 1, images + 1))
        found += [round(1 / above), most]
    print(images, classes, *found)
