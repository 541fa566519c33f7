#!/usr/bin/env python3
"""Asks cuDNN, without a GPU, with which engines it would compute the convolutions of selffer's networks.

cuDNN's backend API takes a description of a device in place of one. Of the engines that its heuristics name for a
convolution, then of those that they fall back on, libtorch keeps under selffer's `cuda` policy those that are noted
neither as not deterministic nor as on tensor cores nor as computing in less than float32, and takes the first. This
asks for that one, for every convolution in float32 with the channel fastest in memory, forward and by both gradients
where training asks for them. It says for which there is none; which engines the fingerprint's probe lacks; and what
other devices, drivers and memories would change.

Run by hand, with a Python that has the cuDNN of PyTorch's build for CUDA (`pip install torch==2.11.0`) and its headers:

    python3 tests/reference/engines.py

Exit status: 0, or 1 where a convolution has no engine, or the fingerprint lacks one that a network takes.
"""

import ctypes as c
import functools
import json
import pathlib
import re
import sys

import nvidia

site = pathlib.Path(nvidia.__path__[0])
header = (site / "cudnn/include/cudnn_graph_v9.h").read_text()
for name in ["libnvrtc-builtins.so.13.0", "libnvrtc.so.13", "libcublasLt.so.13", "libcublas.so.13"]:
    c.CDLL(str(site / "cu13/lib" / name), mode=c.RTLD_GLOBAL)
cudnn = c.CDLL(str(site / "cudnn/lib/libcudnn.so.9"), mode=c.RTLD_GLOBAL)
cudnn.cudnnGetErrorString.restype = c.c_char_p


@functools.cache
def enumeration(name):
    """The values of an enumeration of cuDNN's header, by their names without `CUDNN_`."""
    (body,) = re.findall(r"typedef enum (?:\w+ )?\{([^}]*)\}\s*" + name + r"\s*;", header)
    values, following = {}, 0
    for item in re.sub(r"/\*.*?\*/|//[^\n]*", "", body, flags=re.S).split(","):
        found = re.fullmatch(r"\s*CUDNN_(\w+?)(?:\s+CUDNN_DEPRECATED\w*)?\s*(?:=\s*(\w+))?\s*", item)
        if found:
            following = int(found[2], 0) if found[2] else following
            values[found[1]] = following
            following += 1
    return values


KINDS = enumeration("cudnnBackendDescriptorType_t")
ATTRIBUTES = enumeration("cudnnBackendAttributeName_t")
TYPES = enumeration("cudnnBackendAttributeType_t")
NOTES = {value: name for name, value in enumeration("cudnnBackendNumericalNote_t").items()}
BEHAVIOUR = {value: name for name, value in enumeration("cudnnBackendBehaviorNote_t").items()}
REFUSED = {"NUMERICAL_NOTE_NONDETERMINISTIC", "NUMERICAL_NOTE_TENSOR_CORE", "NUMERICAL_NOTE_DOWN_CONVERT_INPUTS"}
assert REFUSED <= set(NOTES.values())
# As C has each type of attribute.
C = {"INT64": c.c_int64, "BACKEND_DESCRIPTOR": c.c_void_p, "FLOAT": c.c_float, "CHAR": c.c_char}


class Failed(Exception):
    """What cuDNN says where it does not do what it was asked."""


def check(status):
    if status:
        raise Failed(cudnn.cudnnGetErrorString(status).decode())


class Descriptor:
    """One of cuDNN's descriptors; those that it was made of live as long."""

    def __init__(self, kind, **attributes):
        self.pointer = c.c_void_p()
        check(cudnn.cudnnBackendCreateDescriptor(KINDS[f"BACKEND_{kind}_DESCRIPTOR"], c.byref(self.pointer)))
        self.kept = attributes
        if not attributes:
            return
        for name, (of, values) in attributes.items():
            values = [value.pointer.value if isinstance(value, Descriptor) else value for value in values]
            array = (C.get(of, c.c_int32) * len(values))(*values)
            check(self.attribute(cudnn.cudnnBackendSetAttribute, name, of, c.c_int64(len(values)), c.byref(array)))
        check(cudnn.cudnnBackendFinalize(self.pointer))

    def attribute(self, function, name, of, *rest):
        return function(self.pointer, ATTRIBUTES[f"ATTR_{name}"], TYPES[f"TYPE_{of}"], *rest)

    def get(self, name, of, most, into=None):
        """At most so many values of an attribute; descriptors into those given."""
        array = (C.get(of, c.c_int32) * most)(*(one.pointer.value for one in into or []))
        count = c.c_int64()
        check(self.attribute(cudnn.cudnnBackendGetAttribute, name, of, c.c_int64(most), c.byref(count), c.byref(array)))
        return (into or list(array))[: count.value] if of != "CHAR" else array.raw

    def count(self, name, of):
        count = c.c_int64()
        check(self.attribute(cudnn.cudnnBackendGetAttribute, name, of, c.c_int64(0), c.byref(count), None))
        return count.value


def device(**others):
    """An H200 with CUDA 13.0, but for what is given."""
    told = dict(
        version=1, deviceName="NVIDIA H200", cudaDeviceId=0, deviceVer=900, driverVer=13000, isTccDriver=0,
        l2CacheSize=62914560, maxCtasPerSM=32, maxRegistersPerSM=65536, maxSharedMemoryPerBlock=49152,
        maxSharedMemoryPerBlockOptin=232448, maxThreadsPerBlock=1024, maxThreadsPerSM=2048, memClockRateKHz=3201000,
        multiProcessorCount=132, pciDeviceId=0, regsPerBlock=65536, reservedSharedMemoryPerBlock=1024,
        smClockRateKHz=1980000, supportCoopLaunch=1, totalGlobalMem=150110011392, warpSize=32,
        maxBlockSize=[1024, 1024, 64], maxGridSize=[2147483647, 65535, 65535],
    )
    text = json.dumps(told | others).encode() + b"\0"
    return Descriptor("DEVICEPROP", DEVICEPROP_JSON_REPRESENTATION=("CHAR", [bytes([byte]) for byte in text]))


def tensor(name, shape):
    images, channels, rows, columns = shape
    strides = [rows * columns * channels, 1, columns * channels, channels]
    return Descriptor(
        "TENSOR",
        TENSOR_DATA_TYPE=("DATA_TYPE", [0]),
        TENSOR_DIMENSIONS=("INT64", shape),
        TENSOR_STRIDES=("INT64", strides),
        TENSOR_UNIQUE_ID=("INT64", [ord(name)]),
        TENSOR_BYTE_ALIGNMENT=("INT64", [32]),
    )


# How the attributes of each direction begin, and what it is called there.
DIRECTIONS = {"forward": "FORWARD", "by input": "BWD_DATA", "by weight": "BWD_FILTER"}


def graph(direction, images, side, channels, out, kernel, stride, pad, groups):
    """An operation graph of one convolution of that many images with such sides (rows and columns)."""
    rows, columns = side
    sides = [(length + 2 * pad - kernel) // stride + 1 for length in side]
    x, y = tensor("x", [images, channels, rows, columns]), tensor("y", [images, out, *sides])
    w = tensor("w", [out, channels // groups, kernel, kernel])
    convolution = Descriptor(
        "CONVOLUTION",
        CONVOLUTION_SPATIAL_DIMS=("INT64", [2]),
        CONVOLUTION_COMP_TYPE=("DATA_TYPE", [0]),
        CONVOLUTION_CONV_MODE=("CONVOLUTION_MODE", [1]),
        CONVOLUTION_PRE_PADDINGS=("INT64", [pad] * 2),
        CONVOLUTION_POST_PADDINGS=("INT64", [pad] * 2),
        CONVOLUTION_DILATIONS=("INT64", [1] * 2),
        CONVOLUTION_FILTER_STRIDES=("INT64", [stride] * 2),
    )
    way = DIRECTIONS[direction]
    of = f"OPERATION_CONVOLUTION_{way}_"
    x_name, y_name = ("DX" if way == "BWD_DATA" else "X"), ("Y" if way == "FORWARD" else "DY")
    operation = Descriptor(
        f"OPERATION_CONVOLUTION_{ {'BWD_DATA': 'BACKWARD_DATA', 'BWD_FILTER': 'BACKWARD_FILTER'}.get(way, way) }",
        **{
            of + "ALPHA": ("FLOAT", [1.0]),
            of + "BETA": ("FLOAT", [0.0]),
            of + "CONV_DESC": ("BACKEND_DESCRIPTOR", [convolution]),
            of + ("DW" if way == "BWD_FILTER" else "W"): ("BACKEND_DESCRIPTOR", [w]),
            of + x_name: ("BACKEND_DESCRIPTOR", [x]),
            of + y_name: ("BACKEND_DESCRIPTOR", [y]),
        },
    )
    return Descriptor("OPERATIONGRAPH", OPERATIONGRAPH_OPS=("BACKEND_DESCRIPTOR", [operation]))


def first(of, on):
    """The first engine that is kept: its number, its settings, bytes of workspace, notes on how it behaves."""
    for mode in ["HEUR_MODE_INSTANT", "HEUR_MODE_FALLBACK"]:
        mode = enumeration("cudnnBackendHeurMode_t")[mode]
        heuristics = Descriptor(
            "ENGINEHEUR",
            ENGINEHEUR_OPERATION_GRAPH=("BACKEND_DESCRIPTOR", [of]),
            ENGINEHEUR_MODE=("HEUR_MODE", [mode]),
            ENGINEHEUR_DEVICEPROP=("BACKEND_DESCRIPTOR", [on]),
        )
        count = heuristics.count("ENGINEHEUR_RESULTS", "BACKEND_DESCRIPTOR")
        blank = [Descriptor("ENGINECFG") for _ in range(count)]
        for settings in heuristics.get("ENGINEHEUR_RESULTS", "BACKEND_DESCRIPTOR", count, blank) if count else []:
            (engine,) = settings.get("ENGINECFG_ENGINE", "BACKEND_DESCRIPTOR", 1, [Descriptor("ENGINE")])
            if REFUSED & {NOTES[note] for note in engine.get("ENGINE_NUMERICAL_NOTE", "NUMERICAL_NOTE", len(NOTES))}:
                continue
            try:
                plan = Descriptor(
                    "EXECUTION_PLAN",
                    EXECUTION_PLAN_ENGINE_CONFIG=("BACKEND_DESCRIPTOR", [settings]),
                    EXECUTION_PLAN_DEVICEPROP=("BACKEND_DESCRIPTOR", [on]),
                )
            except Failed:
                continue  # as libtorch does: the next
            (number,) = engine.get("ENGINE_GLOBAL_INDEX", "INT64", 1)
            (workspace,) = plan.get("EXECUTION_PLAN_WORKSPACE_SIZE", "INT64", 1)
            text = plan.get("EXECUTION_PLAN_JSON_REPRESENTATION", "CHAR", plan.count("EXECUTION_PLAN_JSON_REPRESENTATION", "CHAR"))
            behaves = engine.get("ENGINE_BEHAVIOR_NOTE", "BEHAVIOR_NOTE", len(BEHAVIOUR))
            return number, json.loads(text.split(b"\0")[0])["engine"], workspace, [BEHAVIOUR[note] for note in behaves]
    return None


source = (pathlib.Path(__file__).parents[2] / "src/numerics/fingerprint.rs").read_text()


def constant(name):
    """The numbers of a constant of the fingerprint's."""
    (value,) = re.findall(rf"const {name}: [^=]*= ([^;]*);", source)
    return [int(number) for number in re.findall(r"\d+", value)]


def small(images):
    """The convolutions of the small network, as `graph` takes them."""
    sides, widths = [28, 14, 7, 7, 7], [1, 16, 24, 32, 32, 24]
    return [(images, (side, side), *widths[at : at + 2], 3, 1, 1, 1) for at, side in enumerate(sides)]


def paper(images, window=227, widths=(96, 256, 384, 384, 256)):
    """Those of the paper's network."""
    side, channels, found = window, 3, []
    layers = [(11, 4, 0, 1, True), (5, 1, 2, 2, True), (3, 1, 1, 1, False), (3, 1, 1, 2, False), (3, 1, 1, 2, True)]
    for out, (kernel, stride, pad, groups, pooled) in zip(widths, layers):
        found.append((images, (side, side), channels, out, kernel, stride, pad, groups))
        side, channels = (side + 2 * pad - kernel) // stride + 1, out
        side = -(-(side - 3) // 2) + 1 if pooled else side
    return found


def probed():
    """Those of the fingerprint's probe, but for the paper's."""
    numbers = constant("CONVOLUTIONS")
    assert len(numbers) == 5 * 10, numbers
    shapes = [numbers[at : at + 5] for at in range(0, len(numbers), 5)]
    return [(images, (rows, columns), of, to, 3, 1, 1, 1) for images, of, to, rows, columns in shapes]


def directions(shapes, first_by_input=False):
    """Each in its directions; nothing asks for the gradient by what enters a network."""
    for at, shape in enumerate(shapes):
        yield from ((way, *shape) for way in DIRECTIONS if way != "by input" or at or first_by_input)


networks = [*directions(small(50)), *directions(small(48)), *directions(paper(256)), *directions(paper(64))]
(images,), (side,) = constant("PAPER_IMAGES"), constant("PAPER_SIDE")
probe = [*directions(probed(), True), *directions(paper(images, side, constant("PAPER_CONV")), True)]
training = networks + [one for one in probe if one not in networks]
# What the probe has on a GPU alone: the paper's fifth.
wide = [constant(f"WIDE_{name}")[0] for name in ["IMAGES", "SIDE", "FROM", "TO", "GROUPS"]]
probe.append(("by weight", wide[0], (wide[1], wide[1]), wide[2], wide[3], 3, 1, 1, wide[4]))
evaluated = [("forward", *shape) for shape in small(250) + paper(250)]

version = cudnn.cudnnGetVersion()
print(f"cuDNN {version // 10000}.{version % 10000 // 100}.{version % 100}")
on = device()
taken = {one: first(graph(*one), on) for one in [*training, *evaluated, *probe]}
missing = [one for one, found in taken.items() if found is None]
for one in missing:
    print("no engine is kept for", *one)
kept = {one: found for one, found in taken.items() if found}
print(f"{len(training)} convolutions of training and of the probe, {len(evaluated)} of evaluation; {len(missing)} without an engine")
print(f"workspace: {max(found[2] for found in kept.values()) / 2**20:.0f} MiB at the most")
print("notes on how they behave:", sorted({note for found in kept.values() for note in found[3]}) or "none")
known = {(one[0], taken[one][0]) for one in probe if taken[one]}
asked = [*networks, *evaluated]
lacking = [one for one in asked if taken[one] and (one[0], taken[one][0]) not in known]
for one in lacking:
    print("the fingerprint lacks engine", taken[one][0], *one)
print(f"the fingerprint has the engines of {len(asked) - len(lacking)} of the networks' {len(asked)}")

h100 = dict(totalGlobalMem=85029158912, l2CacheSize=52428800)
others = {
    "H100 SXM": dict(deviceName="NVIDIA H100 80GB HBM3", memClockRateKHz=2619000, **h100),
    "H100 PCIe": dict(
        deviceName="NVIDIA H100 PCIe", multiProcessorCount=114, memClockRateKHz=1593000, smClockRateKHz=1755000, **h100
    ),
    "a driver for CUDA 13.1": dict(driverVer=13010),
    "20 GiB": dict(totalGlobalMem=20 * 2**30),
    "A100": dict(
        deviceName="NVIDIA A100-SXM4-40GB", deviceVer=800, multiProcessorCount=108, l2CacheSize=41943040,
        smClockRateKHz=1410000, memClockRateKHz=1215000, maxSharedMemoryPerBlockOptin=166912, totalGlobalMem=42 * 10**9,
    ),
}
for name, told in others.items():
    there = device(**told)
    found = {one: first(graph(*one), there) for one in training}
    engines = sum((found[one] or [None])[0] != (taken[one] or [None])[0] for one in training)
    plans = sum((found[one] or [None] * 2)[1] != (taken[one] or [None] * 2)[1] for one in training)
    print(f"{name}: another engine for {engines} of {len(training)}, other settings for {plans}")
sys.exit(1 if missing or lacking else 0)
