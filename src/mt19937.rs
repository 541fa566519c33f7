//! numpy's legacy random permutation, which made the published random halves.
//!
//! Uses nothing of this crate; used by `published`. The generator is Matsumoto and Nishimura's
//! MT19937 ("Mersenne Twister: a 623-dimensionally equidistributed uniform pseudo-random number
//! generator", 1998), seeded by their `init_by_array`; the permutation is that of numpy's
//! `RandomState.permutation`, which never changes any more. `tests/reference/mt19937.py` prints the
//! values that the tests hold both to.

const LEN: usize = 624;
const SHIFT: usize = 397;

/// The generator, at some point of its stream.
pub struct Mt19937 {
    state: [u32; LEN],
    next: usize,
}

impl Mt19937 {
    /// The generator that numpy has after `random.seed(key)` with a list.
    ///
    /// # Panics
    /// Where `key` is empty.
    pub fn from_array(key: &[u32]) -> Self {
        assert!(!key.is_empty(), "a key has at least one number");
        let mut state = [0; LEN];
        state[0] = 19_650_218;
        for i in 1..LEN {
            state[i] = mixed(state[i - 1]).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        let mut i = 1;
        for k in 0..LEN.max(key.len()) {
            let j = k % key.len();
            state[i] = (state[i] ^ mixed(state[i - 1]).wrapping_mul(1_664_525))
                .wrapping_add(key[j])
                .wrapping_add(j as u32);
            i = step(&mut state, i);
        }
        for _ in 1..LEN {
            state[i] = (state[i] ^ mixed(state[i - 1]).wrapping_mul(1_566_083_941)).wrapping_sub(i as u32);
            i = step(&mut state, i);
        }
        state[0] = 1 << 31;
        Self { state, next: LEN }
    }

    /// The next 32 bits.
    pub fn bits(&mut self) -> u32 {
        if self.next == LEN {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for i in 0..LEN {
            let y = (self.state[i] & 1 << 31) | (self.state[(i + 1) % LEN] & !(1 << 31));
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + SHIFT) % LEN] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }

    /// A whole number in `0..=max`: bits under the smallest mask, drawn again while too large.
    fn up_to(&mut self, max: u32) -> u32 {
        let mask = u32::MAX.checked_shr(max.leading_zeros()).unwrap_or(0);
        loop {
            let value = self.bits() & mask;
            if value <= max {
                return value;
            }
        }
    }

    /// The numbers `0..len` in random order.
    pub fn permutation(&mut self, len: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..len).collect();
        for last in (1..len).rev() {
            let other = self.up_to(last);
            order.swap(last as usize, other as usize);
        }
        order
    }
}

fn mixed(word: u32) -> u32 {
    word ^ (word >> 30)
}

/// The next place to fill; past the end, the last word moves to the front.
fn step(state: &mut [u32; LEN], i: usize) -> usize {
    if i + 1 < LEN {
        return i + 1;
    }
    state[0] = state[LEN - 1];
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    // All known values are printed by tests/reference/mt19937.py, which uses numpy.
    #[test]
    fn the_stream_is_numpy_s() {
        let mut generator = Mt19937::from_array(&[0]);
        assert_eq!([(); 4].map(|()| generator.bits()), KNOWN_0);
        let mut generator = Mt19937::from_array(&[1, 2, 3, 4]);
        assert_eq!([(); 4].map(|()| generator.bits()), KNOWN_1234);
        let mut generator = Mt19937::from_array(&[3]);
        let last = (0..2000).map(|_| generator.bits()).last();
        assert_eq!(last, Some(KNOWN_3_AT_2000));
    }

    #[test]
    fn the_permutation_is_numpy_s() {
        assert_eq!(Mt19937::from_array(&[0]).permutation(1000)[..8], KNOWN_ORDER_0);
        assert_eq!(Mt19937::from_array(&[3]).permutation(1000)[992..], KNOWN_ORDER_3);
        assert_eq!(Mt19937::from_array(&[7]).permutation(1), [0]);
        assert!(Mt19937::from_array(&[7]).permutation(0).is_empty());
    }

    const KNOWN_0: [u32; 4] = [3626764237, 1654615998, 3255389356, 3823568514];
    const KNOWN_1234: [u32; 4] = [2915706234, 1022996879, 334638762, 769204869];
    const KNOWN_3_AT_2000: u32 = 3607542163;
    const KNOWN_ORDER_0: [u32; 8] = [949, 304, 10, 395, 929, 46, 691, 369];
    const KNOWN_ORDER_3: [u32; 8] = [995, 166, 670, 253, 420, 873, 842, 146];
}
