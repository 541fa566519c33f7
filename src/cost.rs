//! What a network costs: images, operations, memory, disk, from shapes and counts alone.
//!
//! Uses `architecture`, `protocol` and `treatment`; used by `plan`, `outline`, `run` and `speed`. Nothing here reads an
//! image.

use crate::architecture::{self, LAYERS};
use crate::error::{Error, Result};
use crate::protocol::Protocol;
use crate::treatment::Treatment;

/// What a run costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Images that pass through the network forward and backward, over all epochs.
    pub images: u64,
    /// Floating-point operations: two for each product; a backward pass is twice a forward pass.
    pub operations: u64,
    /// Bytes of memory that training takes at the least.
    pub memory: u64,
    /// Bytes of its checkpoint, but for a header.
    pub checkpoint: u64,
}

/// An estimate of what a run costs on that many training and validation images, of so many channels, rows and
/// columns, of that many classes. Frozen layers are computed once where they can be.
pub fn of(
    protocol: &Protocol,
    treatment: Treatment,
    image: [usize; 3],
    classes: usize,
    [train, valid]: [u64; 2],
) -> Cost {
    let shapes = architecture::layers(&protocol.network, window(protocol, image), classes);
    let frozen = usize::from(treatment.frozen());
    let cached = architecture::cached(protocol.network.layout, protocol.input.is_none(), frozen);
    let products = |layers: &[architecture::Layer]| layers.iter().map(|l| l.products).sum::<u64>();
    let epochs = u64::from(protocol.solver.epochs);
    let visits = protocol.solver.visits_of(train as usize) as u64;
    // Saturating: a plan that large is to be looked at, not to overflow.
    let once = products(&shapes[..cached]).saturating_mul(2 * (train + valid));
    let forward = products(&shapes[cached..frozen]).saturating_mul(2 * (visits + valid));
    let both_ways = products(&shapes[frozen..]).saturating_mul(2 * (3 * visits + valid));
    Cost {
        images: visits * epochs,
        operations: forward.saturating_add(both_ways).saturating_mul(epochs).saturating_add(once),
        memory: memory(protocol, treatment, image, &shapes, cached, [train, valid]),
        checkpoint: 4 * shapes.iter().map(|layer| layer.parameters() as u64).sum::<u64>(),
    }
}

/// Operations of training a base network on one image, of so many channels, rows and columns, of that many classes.
pub fn trained_image(protocol: &Protocol, image: [usize; 3], classes: usize) -> u64 {
    let shapes = architecture::layers(&protocol.network, window(protocol, image), classes);
    2 * 3 * shapes.iter().map(|layer| layer.products).sum::<u64>()
}

/// Bytes for each number of an image while images enter whole: the byte as it is read and the number that it becomes
/// (`net::scaled`).
const ENTERING: u64 = 1 + 4;

/// Bytes in memory at once, at the least: weights as they were and as they are (and the parent's), and momentum; beside
/// them what a step takes, or, where that is more, what making images ready to train on takes.
fn memory(
    protocol: &Protocol,
    treatment: Treatment,
    image: [usize; 3],
    shapes: &[architecture::Layer; LAYERS],
    cached: usize,
    [train, valid]: [u64; 2],
) -> u64 {
    let parameters =
        |layers: &[architecture::Layer]| layers.iter().map(|l| l.parameters() as u64).sum::<u64>();
    let trained = parameters(&shapes[usize::from(treatment.frozen())..]);
    let weights = parameters(shapes) * (2 + u64::from(treatment.parent().is_some())) + trained;
    let visits = protocol.solver.visits_of(train as usize) as u64;
    let step = visits.min(u64::from(protocol.solver.batch));
    let activations = step * shapes[cached..].iter().map(architecture::Layer::activations).sum::<u64>();
    // How many numbers of an image enter the first layer that is not cached.
    let entering = match cached {
        0 => window(protocol, image).iter().product::<usize>() as u64,
        _ => shapes[cached - 1].output.iter().product::<usize>() as u64,
    };
    if protocol.input.is_some() {
        // Beside the activations, windows as numbers and the bytes of the two batches ahead, hence a half of it more; before
        // them, their mean and the bytes of this batch as well: see `train::features` and `train::feed`.
        let within = (activations + step * entering * 3 / 2).max(step * entering * 11 / 4);
        return 4 * (weights + trained + within);
    }
    // What enters that layer waits for every image. A step has gradients too.
    let within = 4 * (trained + activations + (train + valid) * entering);
    // While images are made ready, those of one part; or as they wait and what leaves the cached layers, in pieces and
    // put together; of the validation images beside what waits of the training images.
    let whole = image.iter().product::<usize>() as u64;
    let part = |images: u64| {
        let cached = if cached > 0 { 4 * (whole + 2 * entering) } else { 0 };
        images * (ENTERING * whole).max(cached)
    };
    4 * weights + within.max(part(train)).max(4 * train * entering + part(valid))
}

/// What enters the network for images of so many channels, rows and columns.
pub(crate) fn window(protocol: &Protocol, [channels, rows, cols]: [usize; 3]) -> [usize; 3] {
    match &protocol.input {
        Some(input) => [channels, input.crop as usize, input.crop as usize],
        None => [channels, rows, cols],
    }
}

/// Refuses what takes so many bytes where so many jobs at once cannot hold it in `memory`: the system would kill them.
///
/// # Errors
/// With the mend.
pub fn holds(name: &str, takes: u64, jobs: usize, memory: u64) -> Result<()> {
    if takes.saturating_mul(jobs as u64) <= memory {
        return Ok(());
    }
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let (takes, free) = (gib(takes), gib(memory));
    let each = if jobs == 1 { String::new() } else { format!(" in each of {jobs} jobs") };
    let problem = format!("takes at least {takes:.1} GiB of memory{each}, and {free:.1} are free");
    Err(Error::invalid(name, problem, "take fewer --jobs, a smaller batch or narrower layers"))
}

/// Refuses images that are too small for the protocol's window or network.
///
/// # Errors
/// With the mend.
pub fn large_enough(protocol: &Protocol, [channels, rows, cols]: [usize; 3]) -> Result<()> {
    let subject = format!("protocol {}", protocol.name);
    let entering = window(protocol, [channels, rows, cols]);
    if entering[1] > rows || entering[2] > cols {
        let problem =
            format!("cuts windows of {}x{} pixels out of images of {rows}x{cols}", entering[1], entering[2]);
        return Err(Error::invalid(subject, problem, "lower input.crop, or use larger images"));
    }
    let layers = architecture::layers(&protocol.network, entering, 2);
    if let Some(layer) = layers.iter().find(|layer| layer.output.contains(&0)) {
        let problem =
            format!("leaves nothing of {}x{} pixels after {}", entering[1], entering[2], layer.name);
        let mend = "use larger images, a larger window, or the small layout";
        return Err(Error::invalid(subject, problem, mend));
    }
    Ok(())
}
