"""The table of ci/bench, from its lines of JSON: python3 beside.py FILE DEVICE."""

import json
import statistics
import subprocess
import sys
from pathlib import Path


def name_of(device):
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    cpu = Path("/proc/cpuinfo").read_text().splitlines()
    return "one thread of " + next(line for line in cpu if line.startswith("model name")).split(": ")[1]


def ratios(ours, theirs):
    """Times as fast, each round by itself: what slows the machine down slows both."""
    return [they["seconds"] / we["seconds"] for we, they in zip(ours, theirs)]


def spread(numbers):
    return f"{min(numbers):7.2f} {statistics.median(numbers):7.2f} {max(numbers):7.2f}"


def alike(case, what, ours, theirs):
    """Where the losses are not alike, the two did not compute the same. Of the paper's network they are of the very same
    steps; of an epoch of the small one, what rounding grows to comes in."""
    tolerance = 1e-4 if case == "caffe" else 0.02
    a, b = ours["losses"][0], theirs["losses"][0]
    if abs(a - b) > tolerance * b:
        sys.exit(f"ci/bench: {case}: selffer has a training loss of {a}, {what} of {b}: they did not compute the same")


def steps(lines, peak):
    print("Images a second and share of the matrix-product peak (medians); how many times as fast selffer is.")
    print(f"{'numerics':10} {'case':12} {'':30} {'images/s':>9} {'of peak':>8} {'least':>7} {'median':>7} {'most':>7}")
    keys = dict.fromkeys((line["policy"], line["case"]) for line in lines)
    for policy, case in keys:
        by = {}
        for line in lines:
            if (line["policy"], line["case"]) == (policy, case):
                by.setdefault(line["what"], []).append(line)
        ours = by["selffer"]
        operations = ours[0]["operations"]
        for what, found in by.items():
            alike(case, what, ours[0], found[0])
            speed = statistics.median(line["images_per_second"] for line in found)
            share = operations / statistics.median(line["seconds"] for line in found) / 1e9 / peak
            beside = "" if what == "selffer" else spread(ratios(ours, found))
            print(f"{policy:10} {case:12} {what:30} {speed:9.1f} {100 * share:6.1f} % {beside}")


def plans(lines):
    for case in dict.fromkeys(line["case"] for line in lines):
        by = {}
        for line in lines:
            if line["case"] == case:
                by.setdefault(line["what"], []).append(line)
        ours = by["selffer"]
        print(f"\n{case}: {ours[0]['networks']} networks; seconds (median), mean accuracy of all; times as fast")
        for what, found in by.items():
            seconds = statistics.median(line["seconds"] for line in found)
            beside = "" if what == "selffer" else spread(ratios(ours, found))
            print(f"{what:42} {seconds:8.1f} {100 * found[0]['accuracy']:6.1f} % {beside}")
            # Other draws, the same recipe: networks come out alike. Chance is 0.1.
            if abs(found[0]["accuracy"] - ours[0]["accuracy"]) > 0.1:
                sys.exit(f"ci/bench: {what} comes to another accuracy: it is not the same recipe")


def main(path, device):
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    peaks = [line["gflops"] for line in lines if line["case"] == "peak"]
    print(f"On {name_of(device)}" + (f"; matrix products reach {max(peaks):.1f} GFLOP/s, best of {len(peaks)} rounds." if peaks else "."))
    stepped = [line for line in lines if "policy" in line]
    if stepped:
        steps(stepped, max(peaks))
    planned = [line for line in lines if line["case"].startswith("plan ")]
    if planned:
        plans(planned)


main(*sys.argv[1:])
