"""Prints the known values of src/audit/mt19937.rs, from numpy's own legacy generator.

Run by hand: python3 tests/reference/mt19937.py (needs numpy).
"""

import numpy as np


def words(key, count):
    state = np.random.RandomState()
    state.seed(key)
    return [int.from_bytes(state.bytes(4), "little") for _ in range(count)]


def order(key):
    state = np.random.RandomState()
    state.seed(key)
    return state.permutation(1000).tolist()


print("KNOWN_0", words([0], 4))
print("KNOWN_1234", words([1, 2, 3, 4], 4))
print("KNOWN_3_AT_2000", words([3], 2000)[-1])
print("KNOWN_ORDER_0", order([0])[:8])
print("KNOWN_ORDER_3", order([3])[-8:])
