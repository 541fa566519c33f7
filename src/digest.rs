//! SHA-256 digests, one newtype for each thing that has one.
//!
//! Used by everything that names content; uses nothing of this crate. A digest in a file or on a
//! command line is 64 hexadecimal digits; `Display` shows the first twelve, for people.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// A SHA-256 sum.
///
/// `Debug` and [`Digest::hex`] give all 64 hexadecimal digits, `Display` the first twelve.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The sum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The sum's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// All 64 hexadecimal digits, lower case.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex()[..12])
    }
}

/// A text that is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest: it takes 64 lower-case hexadecimal digits")]
pub struct NotADigest(String);

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let mut bytes = [0; 32];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if !text.bytes().any(|b| b.is_ascii_uppercase()) => Ok(Self(bytes)),
            _ => Err(NotADigest(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.hex()
    }
}

/// Feeds a digest piece by piece, each piece with its length before it, so that no two different
/// sequences of pieces give the same bytes to the hash.
pub struct Hasher(Sha256);

impl Hasher {
    /// A hasher for one `domain`: the same pieces in another domain have another digest.
    pub fn new(domain: &str) -> Self {
        let mut hasher = Self(Sha256::new());
        hasher.piece(domain.as_bytes());
        hasher
    }

    /// Adds one piece.
    pub fn piece(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// The digest of all pieces so far.
    pub fn finish(&self) -> Digest {
        Digest(self.0.clone().finalize().into())
    }
}

macro_rules! digests {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl $name {
            /// All 64 hexadecimal digits, lower case.
            pub fn hex(&self) -> String {
                self.0.hex()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = NotADigest;

            fn from_str(text: &str) -> Result<Self, NotADigest> {
                text.parse().map(Self)
            }
        }
    )*};
}

digests! {
    /// One image: its shape and pixels.
    ImageDigest;
    /// A data set: its class names and every image with its label, in order.
    DataDigest;
    /// A split: the bytes of its file.
    SplitDigest;
    /// One layer's weights and bias: names, dtype, shapes, little-endian bytes.
    LayerDigest;
    /// A network's layers in order, or the first n of them.
    WeightsDigest;
    /// All that determines the bits of one network.
    RecipeDigest;
    /// The order in which one epoch visits the training images.
    OrderDigest;
    /// The state of a run at one place, chained to the places before it.
    LedgerDigest;
    /// A protocol's numbers, after parsing.
    ProtocolDigest;
    /// What libtorch computes a fixed probe to, on one machine under one numerics policy.
    FingerprintDigest;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sum() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").hex(), abc);
        assert_eq!(Digest::of(b"abc").to_string(), abc[..12]);
        assert_eq!(abc.parse::<Digest>().unwrap(), Digest::of(b"abc"));
    }

    #[test]
    fn refuses_what_is_no_digest() {
        let good = Digest::of(b"abc").hex();
        for bad in ["", "ba78", &good.to_uppercase(), &good.replace('b', "g")] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn pieces_do_not_run_together() {
        let of = |pieces: &[&str]| {
            let mut hasher = Hasher::new("test");
            for piece in pieces {
                hasher.piece(piece.as_bytes());
            }
            hasher.finish()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab", ""]), of(&["ab"]));
        assert_ne!(Hasher::new("a").finish(), Hasher::new("b").finish());
    }
}
