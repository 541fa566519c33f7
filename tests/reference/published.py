"""Recomputes what `selffer audit` prints of the published archive, with numpy and a parser of its own.

Run by hand, with the archive's root (the directory that has `results`) and, to compare every number, the audit's
JSON:

    python3 tests/reference/published.py ARCHIVE [AUDIT.json]

Needs numpy and scipy. Shares no code with the program: regular expressions here, a hand-written scanner there.
"""

import collections
import glob
import gzip
import hashlib
import json
import os
import re
import sys

import numpy as np
from scipy import stats

Z = stats.norm.ppf(0.975)

LINE = re.compile(r"^[IWEF](\d{4} \d\d:\d\d:\d\d\.\d+) +\d+ \S+\] (.*)$")


def curve(directory):
    """Iteration -> accuracy, the latest time stamp winning. No published run crosses a new year."""
    latest = {}
    for path in glob.glob(os.path.join(directory, "*.gz")):
        iteration = None
        with gzip.open(path, "rt", errors="replace") as log:
            for text in log:
                found = LINE.match(text)
                if not found:
                    continue
                when, message = found.groups()
                testing = re.match(r"Iteration (\d+), Testing net", message)
                score = re.match(r"Test score #0: (\S+)", message)
                if testing:
                    iteration = int(testing[1])
                elif score and (iteration not in latest or latest[iteration][0] < when):
                    latest[iteration] = (when, float(score[1]))
    return {iteration: value for iteration, (_, value) in latest.items()}


def kind(run):
    """The kind of split, the kind of treatment, the depth, the target."""
    if run == "netbase":
        return "whole", "base", 0, "whole"
    if found := re.fullmatch(r"nolearn_1_(\d)", run):
        return "whole", "RnB", int(found[1]), "whole"
    if found := re.fullmatch(r"reduced-(\d{4})", run):
        return "reduced", "base", 0, found[1]
    if found := re.fullmatch(r"half(natman|\d)([AB])", run):
        return ("dissimilar" if found[1] == "natman" else "random"), "base", 0, found[1] + found[2]
    if found := re.fullmatch(r"transfernatman([AB])([AB])_1_(\d)", run):
        return "dissimilar", "AnB", int(found[3]), "natman" + found[2]
    found = re.fullmatch(r"transfer(-ft)?(\d)([AB])\2([AB])_1_(\d)", run)
    tuned, split, source, target, n = found.groups()
    name = ("BnB" if source == target else "AnB") + ("+" if tuned else "")
    return "random", name, int(n), split + target


def main(archive, audit=None):
    accuracy, last = {}, {}
    for directory in sorted(glob.glob(os.path.join(archive, "results", "*"))):
        scores = curve(directory)
        if scores:
            run = os.path.basename(directory)
            accuracy[run] = float(np.mean(np.sort(list(scores.values()))[-10:]))
            last[run] = scores[max(scores)]
    cells = collections.defaultdict(list)
    for run in accuracy:
        split, treatment, n, target = kind(run)
        apart = target if split in ("dissimilar", "reduced") else None
        cells[split, treatment, n, apart].append(run)
    print(f"{len(accuracy)} runs with scores")
    for (split, treatment, n, apart), runs in sorted(cells.items(), key=str):
        values = np.array([accuracy[run] for run in runs])
        print(split, treatment, n, apart or "", f"mean {values.mean():.10f} median {np.median(values):.10f} of {len(runs)}")

    excess = np.array([accuracy[run] - last[run] for run in sorted(accuracy)])
    print(f"excess mean {excess.mean():.10f} median {np.median(excess):.10f} most {excess.max():.10f}")

    base = {kind(run)[3]: accuracy[run] for run in accuracy if kind(run)[:2] == ("random", "base")}
    own = lambda run: accuracy[run] - base[kind(run)[3]]

    def sampling(share, images=25_000):
        share = (share * images + 0.5) / (images + 1)
        return share * (1 - share) / (images + 1)

    def by_images(value, *sides, other=None):
        """The middle 95 % by images: each side has runs with weights, and a target's runs share its images."""
        variance = 0
        for side in sides:
            targets = collections.defaultdict(list)
            for run, weight in side:
                target = kind(run)[3]
                targets[target].append((weight, sampling(accuracy[run]) + sampling((other or base)[target])))
            variance += sum(sum(w for w, _ in runs) * sum(w * v for w, v in runs) for runs in targets.values())
        return value - Z * variance**0.5, value + Z * variance**0.5

    def by_targets(value, statistic, *sides):
        """Student's interval by leaving out each target of each side in turn; none where a side has one."""
        variance, fewest = 0, min(len({kind(run)[3] for run in side}) for side in sides)
        if fewest < 2:
            return None
        for at, side in enumerate(sides):
            targets = sorted({kind(run)[3] for run in side})
            rest = [[[r for r in s if s is not side or kind(r)[3] != out] for s in sides] for out in targets]
            without = np.array([statistic(*one) for one in rest])
            variance += (len(targets) - 1) / len(targets) * ((without - without.mean()) ** 2).sum()
        half = stats.t.ppf(0.975, fewest - 1) * variance**0.5
        return value - half, value + half

    def wider(images, targets):
        """The interval that counts, and what it is by."""
        if targets and targets[1] - targets[0] > images[1] - images[0]:
            return *targets, "targets"
        return *images, "images"

    table = []
    for low, high in ((1, 7), (3, 7), (5, 7)):
        pick = lambda name: [run for run in accuracy if kind(run)[:2] == ("random", name) and low <= kind(run)[2] <= high]
        tuned, selffer = pick("AnB+"), pick("BnB+")
        mean = lambda runs: np.mean([accuracy[run] for run in runs])
        by_layer = lambda runs: np.mean([mean([r for r in runs if kind(r)[2] == n]) for n in range(low, high + 1)])
        at = lambda runs, n: np.mean([own(r) for r in runs if kind(r)[2] == n])
        row = {
            "over_base": mean(tuned) - np.mean(list(base.values())),
            "over_selffer": mean(tuned) - mean(selffer),
            "over_base_by_layer": by_layer(tuned) - np.mean(list(base.values())),
            "over_selffer_by_layer": by_layer(tuned) - by_layer(selffer),
            "over_base_target_matched": np.mean([own(run) for run in tuned]),
            "over_selffer_target_matched": np.mean([at(tuned, n) - at(selffer, n) for n in range(low, high + 1)]),
        }
        depths = {kind(run)[2] for run in tuned} & {kind(run)[2] for run in selffer}
        share = lambda run, runs: 1 / (len(depths) * sum(kind(r)[2] == kind(run)[2] for r in runs))
        by_depth = lambda runs: [(run, share(run, runs)) for run in runs if kind(run)[2] in depths]
        boost = lambda runs: np.mean([own(run) for run in runs])
        both = lambda a, b: {kind(run)[2] for run in a} & {kind(run)[2] for run in b}
        excess_over = lambda a, b: np.mean([at(a, n) - at(b, n) for n in both(a, b)])
        matched, over = row["over_base_target_matched"], row["over_selffer_target_matched"]
        intervals = {
            "target_matched": wider(
                by_images(matched, [(run, 1 / len(tuned)) for run in tuned]), by_targets(matched, boost, tuned)
            ),
            "over_selffer_target_matched": wider(
                by_images(over, by_depth(tuned), by_depth(selffer)), by_targets(over, excess_over, tuned, selffer)
            ),
        }
        table.append((row, intervals))
        print(f"table 1, layers {low}-{high}:", " ".join(f"{name} {value:.10f}" for name, value in row.items()))
        print(" ", ", ".join(f"{name} {low:.10f} to {high:.10f} by {by}" for name, (low, high, by) in intervals.items()))

    layers, curves = [], {}
    for n in range(1, 8):
        pick = lambda name: {kind(r)[3]: accuracy[r] for r in accuracy if kind(r)[:3] == ("random", name, n)}
        run = {kind(r)[3]: r for r in accuracy if kind(r)[:3] == ("random", "BnB", n)}
        frozen, transfer = pick("BnB"), pick("AnB")
        found = []
        for other, sign in ((base, -1), (transfer, 1)):
            lost = lambda runs: np.mean([sign * (accuracy[r] - other[kind(r)[3]]) for r in runs])
            value = lost(run.values())
            images = by_images(value, [(r, 1 / len(run)) for r in run.values()], other=other)
            found.append((value, *wider(images, by_targets(value, lost, list(run.values())))))
        layers.append(found)
        print(f"n {n}:", "; ".join(f"{what} {v:.10f} ({low:.10f} to {high:.10f}) by {by}"
              for what, (v, low, high, by) in zip(("co-adaptation", "specificity"), found)))
        for target in frozen:
            curves.setdefault(target, []).append(frozen[target] - transfer[target])

    def turning(targets):
        """The mean layer at which specificity grows, and over how many layers."""
        gains = np.diff(np.mean([curves[target] for target in targets], axis=0), prepend=0).clip(0)
        weights = gains / gains.sum()
        return np.array([weights @ np.arange(1, 8), 1 / (weights @ weights)])

    turn = turning(curves)
    without = np.array([turning([t for t in curves if t != out]) for out in curves])
    count = len(curves)
    error = ((count - 1) / count * ((without - without.mean(axis=0)) ** 2).sum(axis=0)) ** 0.5
    half = stats.t.ppf(0.975, count - 1) * error
    transition = list(zip(turn, np.clip(turn - half, 1, 7), np.clip(turn + half, 1, 7)))
    print("transition:", "; ".join(f"{v:.10f} ({low:.10f} to {high:.10f})" for v, low, high in transition))

    for seed in range(4):
        state = np.random.RandomState()
        state.seed([seed])
        chosen = set(state.permutation(1000)[:500].tolist())
        for half, classes in (("A", sorted(chosen)), ("B", sorted(set(range(1000)) - chosen))):
            number = {old: new for new, old in enumerate(classes)}
            digest = hashlib.md5()
            with open(os.path.join(archive, "ilsvrc12/data/whole_valid/files.txt")) as images:
                for line in images:
                    image, old = line.split()
                    if int(old) in number:
                        digest.update(f"{image} {number[int(old)]}\n".encode())
            print(f"half{seed}{half}_valid {digest.hexdigest()}")

    if audit:
        compare(json.load(open(audit)), accuracy, last, cells, excess, table, layers, transition)


def compare(audit, accuracy, last, cells, excess, table, layers, transition):
    """Every number to 12 digits."""
    count = 0

    def same(name, ours, theirs):
        nonlocal count
        count += 1
        assert abs(ours - theirs) < 1e-12, f"{name}: {ours} here, {theirs} in the audit"

    for run in audit["runs"]:
        assert (run["accuracy"] is None) == (run["run"] not in accuracy), run["run"]
        if run["accuracy"] is not None:
            same(run["run"], accuracy[run["run"]], run["accuracy"])
            same(run["run"], last[run["run"]], run["last"])
    by_runs = {frozenset(runs): runs for runs in cells.values()}
    assert len(by_runs) == len(audit["cells"])
    for cell in audit["cells"]:
        values = [accuracy[run] for run in by_runs[frozenset(cell["runs"])]]
        same(str(cell["runs"]), np.mean(values), cell["mean"])
        same(str(cell["runs"]), np.median(values), cell["median"])
        same(str(cell["runs"]), np.mean([last[run] for run in cell["runs"]]), cell["mean_last"])
    same("excess", excess.mean(), audit["selection"]["mean"])
    same("excess", np.median(excess), audit["selection"]["median"])
    for row, (ours, intervals) in zip(audit["table1"], table, strict=True):
        for name, value in ours.items():
            theirs = row[name]["value"] if isinstance(row[name], dict) else row[name]
            same(f"table 1 {row['layers']} {name}", value, theirs)
        for name, (low, high, by) in intervals.items():
            assert row[name]["source"] == by, f"table 1 {row['layers']} {name}"
            same(f"table 1 {row['layers']} {name}", low, row[name]["interval"]["low"])
            same(f"table 1 {row['layers']} {name}", high, row[name]["interval"]["high"])
    for layer, found in zip(audit["questions"]["layers"], layers, strict=True):
        for name, (value, low, high, by) in zip(("coadaptation", "specificity"), found):
            theirs, name = layer[name], f"{name} at {layer['n']}"
            assert theirs["source"] == by, name
            same(name, value, theirs["value"])
            same(name, low, theirs["interval"]["low"])
            same(name, high, theirs["interval"]["high"])
    for name, (value, low, high) in zip(("layer", "layers"), transition):
        theirs = audit["questions"]["transition"][name]
        same(name, value, theirs["value"])
        same(name, low, theirs["interval"]["low"])
        same(name, high, theirs["interval"]["high"])
    print(f"the audit's JSON agrees in all {count} numbers")


main(*sys.argv[1:])
