//! A network's weights as numbers, and the file they are kept in.
//!
//! Uses `architecture` and `digest`; used by everything that touches weights, libtorch's side
//! included. A checkpoint is a safetensors file without metadata. Each layer has a digest of its own,
//! and so have the first n layers together, hence "the copied layers did not change" is one
//! comparison of two digests.

use crate::architecture::{self, LAYERS, NAMES};
use crate::digest::{Hasher, LayerDigest, WeightsDigest};
use crate::whole;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, View};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Bytes of a header, at the most: a network's has some thousands, a state's all that its run has come to.
const HEADER_MAX: usize = 100_000_000;

/// An array of 32-bit floats.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its values, the last dimension fastest.
    pub values: Vec<f32>,
}

impl Tensor {
    /// The values as files and digests have them.
    pub fn le_bytes(&self) -> Vec<u8> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// What a file has of one, whose numbers are 32-bit floats.
    pub(crate) fn of_file(view: &TensorView<'_>) -> Self {
        let (chunks, _) = view.data().as_chunks::<4>();
        let values = chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
        Self { shape: view.shape().to_vec(), values }
    }
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.le_bytes().into()
    }

    fn data_len(&self) -> usize {
        size_of::<f32>() * self.values.len()
    }
}

// Bit for bit: a NaN equals itself, and 0 is not -0.
impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape
            && self.values.len() == other.values.len()
            && self.values.iter().zip(&other.values).all(|(a, b)| a.to_bits() == b.to_bits())
    }
}

/// One layer's weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// `[out, in, 3, 3]` or `[out, in]`.
    pub weight: Tensor,
    /// `[out]`.
    pub bias: Tensor,
}

impl Layer {
    /// Whether it is of that shape.
    pub fn is_of(&self, shape: &architecture::Layer) -> bool {
        self.weight.shape == shape.weight && self.bias.shape == shape.weight[..1]
    }

    /// The layer's tensors with the names they have in files as the layer of that index, in order.
    pub(crate) fn tensors(&self, index: usize) -> [(String, &Tensor); 2] {
        let name = NAMES[index];
        [(format!("{name}.weight"), &self.weight), (format!("{name}.bias"), &self.bias)]
    }

    /// The digest of the layer as the one of that index: names, dtype, shapes and values.
    pub fn digest(&self, index: usize) -> LayerDigest {
        let mut hasher = Hasher::new("selffer layer v1");
        for (name, tensor) in self.tensors(index) {
            hasher.piece(name.as_bytes()).piece(b"F32");
            hasher.piece(&(tensor.shape.len() as u64).to_le_bytes());
            for dim in &tensor.shape {
                hasher.piece(&(*dim as u64).to_le_bytes());
            }
            hasher.piece(&tensor.le_bytes());
        }
        LayerDigest(hasher.finish())
    }
}

/// A whole network's weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The eight layers.
    pub layers: [Layer; LAYERS],
}

/// The digests of a network's layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LayerDigests(pub [LayerDigest; LAYERS]);

impl LayerDigests {
    /// The digest of the first `n` layers.
    pub fn prefix(&self, n: u8) -> WeightsDigest {
        let mut hasher = Hasher::new("selffer weights v1");
        for layer in &self.0[..usize::from(n)] {
            hasher.piece(layer.0.as_bytes());
        }
        WeightsDigest(hasher.finish())
    }

    /// The digest of the whole network.
    pub fn whole(&self) -> WeightsDigest {
        self.prefix(LAYERS as u8)
    }
}

/// Why bytes are not a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotACheckpoint {
    /// The safetensors reader refused it.
    #[error("it is no safetensors file ({0})")]
    Format(String),
    /// A tensor is missing, or there is one too many.
    #[error("it does not hold the weights and biases of the eight layers and nothing else")]
    Tensors,
    /// A tensor is not of 32-bit floats.
    #[error("its {0} is not of 32-bit floats")]
    Dtype(String),
    /// The file has other bytes than this crate writes for the same weights.
    #[error("its header is not as selffer writes it")]
    NotCanonical,
}

impl Weights {
    /// Whether its layers are of those shapes.
    pub fn are_of(&self, shapes: &[architecture::Layer; LAYERS]) -> bool {
        self.layers.iter().zip(shapes).all(|(layer, shape)| layer.is_of(shape))
    }

    /// The digests of the layers.
    pub fn digests(&self) -> LayerDigests {
        LayerDigests(std::array::from_fn(|index| self.layers[index].digest(index)))
    }

    /// Whether every number is finite.
    pub fn finite(&self) -> bool {
        self.layers
            .iter()
            .all(|layer| [&layer.weight, &layer.bias].iter().all(|t| t.values.iter().all(|v| v.is_finite())))
    }

    /// The checkpoint file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let tensors = self.layers.iter().enumerate().flat_map(|(index, layer)| layer.tensors(index));
        safetensors::serialize(tensors, None).expect("sixteen named tensors")
    }

    /// Reads a checkpoint file.
    ///
    /// # Errors
    /// Where the bytes are not exactly what [`Weights::to_bytes`] gives for some weights.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotACheckpoint> {
        let file =
            SafeTensors::deserialize(bytes).map_err(|error| NotACheckpoint::Format(error.to_string()))?;
        if file.len() != 2 * LAYERS {
            return Err(NotACheckpoint::Tensors);
        }
        let tensor = |name: String| -> Result<Tensor, NotACheckpoint> {
            let view = file.tensor(&name).map_err(|_| NotACheckpoint::Tensors)?;
            if view.dtype() != Dtype::F32 {
                return Err(NotACheckpoint::Dtype(name));
            }
            Ok(Tensor::of_file(&view))
        };
        let mut layers = Vec::with_capacity(LAYERS);
        for name in NAMES {
            let (weight, bias) = (tensor(format!("{name}.weight"))?, tensor(format!("{name}.bias"))?);
            layers.push(Layer { weight, bias });
        }
        let layers = layers.try_into().expect("eight layers");
        let weights = Self { layers };
        if weights.to_bytes() != bytes {
            return Err(NotACheckpoint::NotCanonical);
        }
        Ok(weights)
    }
}

/// How long the file at `path` is by its own word, a safetensors file after so many bytes of other things; none where it
/// cannot be read as one. No more than its header is read.
pub(crate) fn length(path: &Path, before: u64) -> Option<u64> {
    let file = whole::open(path).ok()?;
    let mut count = [0; 8];
    file.read_exact_at(&mut count, before).ok()?;
    let header = usize::try_from(u64::from_le_bytes(count)).ok().filter(|header| *header <= HEADER_MAX)?;
    let mut head = vec![0; count.len() + header];
    file.read_exact_at(&mut head, before).ok()?;
    let (_, metadata) = SafeTensors::read_metadata(&head).ok()?;
    before.checked_add(head.len() as u64)?.checked_add(metadata.data_len() as u64)
}

#[cfg(test)]
mod tests;
