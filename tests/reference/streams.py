#!/usr/bin/env python3
"""Prints the values that the tests of src/seed.rs hold the random streams to.

Written from the description of the streams, not from their code, and with the standard library alone: ChaCha20 from
RFC 8439 (checked below against the RFC's own test vector), SHA-256 from hashlib, logarithm and root from math.
Run it by hand: python3 tests/reference/streams.py
"""

import hashlib
import math
import struct

MASK = 0xFFFFFFFF


def quarter(s, a, b, c, d):
    """RFC 8439, section 2.1."""
    for left, right, target, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[left] = (s[left] + s[right]) & MASK
        mixed = s[target] ^ s[left]
        s[target] = ((mixed << turn) | (mixed >> (32 - turn))) & MASK


def block(key, counter, nonce):
    """RFC 8439, section 2.3: 64 bytes of key stream."""
    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *struct.unpack("<8I", key), counter]
    start += struct.unpack("<3I", nonce)
    s = list(start)
    for _ in range(10):
        for columns in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
            quarter(s, *columns)
        for diagonals in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter(s, *diagonals)
    return struct.pack("<16I", *((x + y) & MASK for x, y in zip(s, start)))


def check_rfc():
    """The test vector of section 2.3.2."""
    found = block(bytes(range(32)), 1, bytes.fromhex("000000090000004a00000000"))
    expected = (
        "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
        "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
    )
    assert found.hex() == expected, found.hex()


class Stream:
    def __init__(self, name):
        """A stream is keyed with the SHA-256 of the domain and the name's pieces, each after its length."""
        pieces = [b"selffer stream v1", *(str(piece).encode() for piece in name)]
        sealed = b"".join(struct.pack("<Q", len(piece)) + piece for piece in pieces)
        self.key = hashlib.sha256(sealed).digest()
        self.counter, self.buffer, self.spare = 0, b"", None

    def bits(self):
        if not self.buffer:
            self.buffer = block(self.key, self.counter, bytes(12))
            self.counter += 1
        (word,), self.buffer = struct.unpack("<Q", self.buffer[:8]), self.buffer[8:]
        return word

    def below(self, bound):
        """The last, incomplete run of `bound` values below 2^64 - 1 is rejected."""
        runs = (2**64 - 1) // bound
        while (word := self.bits()) >= runs * bound:
            pass
        return word % bound

    def uniform(self):
        return (self.bits() >> 11) * 2.0**-53

    def gaussian(self):
        """Marsaglia's polar method; the second of a pair waits for the next call."""
        if self.spare is not None:
            value, self.spare = self.spare, None
            return value
        while True:
            u, v = 2 * self.uniform() - 1, 2 * self.uniform() - 1
            s = u * u + v * v
            if 0 < s < 1:
                factor = math.sqrt(-2 * math.log(s) / s)
                self.spare = v * factor
                return u * factor

    def permutation(self, count):
        """Fisher and Yates, from the last place down."""
        order = list(range(count))
        for last in range(count - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order


def hexes(words):
    return ", ".join(f"0x{word:016x}" for word in words)


def float_bits(values):
    return hexes(struct.unpack("<Q", struct.pack("<d", value))[0] for value in values)


NAMES = [
    ("order", "seed", 1, "epoch", 0),
    ("init", "seed", 2**64 - 1, "layer", "conv1"),
]
BOUNDS = [1, 2, 10, 1000, 3 << 62, 3 << 62, 3 << 62, 2**64 - 1]


def main():
    check_rfc()
    for name in NAMES:
        print(name)
        stream = Stream(name)
        print("  bits", hexes(stream.bits() for _ in range(10)))
        stream = Stream(name)
        print("  below", ", ".join(str(stream.below(bound)) for bound in BOUNDS))
        stream = Stream(name)
        print("  uniform", float_bits(stream.uniform() for _ in range(3)))
        stream = Stream(name)
        print("  gaussian", float_bits(stream.gaussian() for _ in range(8)))
        print("  permutation", Stream(name).permutation(20))


if __name__ == "__main__":
    main()
