//! Windows of images, cut out ahead of the step that they are for.
//!
//! Uses `data` and `input`; a part of `train`. While one batch is trained on, the next is read, checked and cut by
//! other threads, so that a GPU does not wait for images. What is in a batch is settled before: threads change
//! no bit, and none of them calls libtorch.

use crate::data::Images;
use crate::error::Result;
use crate::input::{Window, cut};
use crate::protocol::Input;
use rayon::prelude::*;
use std::sync::mpsc::sync_channel;
use std::thread;

/// Batches that wait beside the one in use and the one that is being cut.
const AHEAD: usize = 1;

/// What windows are cut from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) images: &'a Images,
    pub(super) input: &'a Input,
}

/// The images of a batch, by index, each with its window.
pub(super) type Wanted = Vec<(usize, Window)>;

/// The windows of a batch and their bytes: images, then rows, then columns, then channels.
#[derive(Debug, PartialEq)]
pub(super) struct Cut {
    pub(super) windows: Vec<Window>,
    pub(super) bytes: Vec<u8>,
}

impl Source<'_> {
    /// Channels, rows and columns of a window.
    pub(super) fn shape(&self) -> [usize; 3] {
        let crop = self.input.crop as usize;
        [self.images.channels, crop, crop]
    }

    fn cut(&self, wanted: &Wanted) -> Result<Cut> {
        let [channels, crop, _] = self.shape();
        let size = channels * crop * crop;
        let mut bytes = vec![0; size * wanted.len()];
        bytes.par_chunks_exact_mut(size).zip(wanted).try_for_each(|(out, (at, window))| {
            cut(&self.images.image(*at)?, self.images.shape(), crop, *window, out);
            Ok(())
        })?;
        Ok(Cut { windows: wanted.iter().map(|(_, window)| *window).collect(), bytes })
    }
}

/// Calls `work` with what gives the next of `batches`, one call a batch; where there is nothing to cut from, each is
/// none. What `work` leaves is not cut, but for those ahead.
pub(super) fn fed<R>(
    source: Option<Source<'_>>,
    batches: impl Iterator<Item = Wanted> + Send,
    work: impl FnOnce(&mut dyn FnMut() -> Result<Option<Cut>>) -> R,
) -> R {
    let Some(source) = source else { return work(&mut || Ok(None)) };
    thread::scope(|scope| {
        let (ready, next) = sync_channel(AHEAD);
        scope.spawn(move || {
            for wanted in batches {
                let cut = source.cut(&wanted);
                let failed = cut.is_err();
                // Nobody takes it: the work ended before its batches.
                if ready.send(cut).is_err() || failed {
                    break;
                }
            }
        });
        work(&mut move || next.recv().expect("a batch for each call").map(Some))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Subtract;
    use crate::testing::dataset;

    const INPUT: Input = Input { crop: 3, mirror: true, subtract: Subtract::Moments };

    fn wanted(batches: u32) -> Vec<Wanted> {
        let window =
            |at: u32| Window { row: at as usize % 3, col: at as usize % 2, mirrored: at.is_multiple_of(5) };
        (0..batches)
            .map(|batch| (0..7).map(|at| ((batch + at) as usize % 10, window(batch * at))).collect())
            .collect()
    }

    #[test]
    fn each_batch_is_what_is_cut_one_after_the_other() {
        let data = dataset(2, 5, 1, 6);
        let source = Source { images: &data.train, input: &INPUT };
        let found = fed(Some(source), wanted(20).into_iter(), |next| {
            (0..20).map(|_| next().unwrap().unwrap()).collect::<Vec<_>>()
        });
        for (found, wanted) in found.iter().zip(wanted(20)) {
            let (mut windows, mut bytes) = (Vec::new(), Vec::new());
            for (at, window) in wanted {
                let mut out = [0; 9];
                cut(&data.train.image(at).unwrap(), data.train.shape(), 3, window, &mut out);
                windows.push(window);
                bytes.extend(out);
            }
            assert_eq!(*found, Cut { windows, bytes });
        }
    }

    /// Work that ends early leaves the rest uncut and does not wait for it.
    #[test]
    fn what_is_not_asked_for_is_not_cut() {
        let data = dataset(2, 5, 1, 6);
        let source = Source { images: &data.train, input: &INPUT };
        let cut = std::sync::atomic::AtomicUsize::new(0);
        let endless = (0..).map(|_| {
            cut.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            wanted(1).remove(0)
        });
        let two = fed(Some(source), endless, |next| [next().unwrap(), next().unwrap()]);
        assert_eq!(two[0], two[1]);
        assert!(cut.into_inner() <= 2 + AHEAD + 2);
        assert_eq!(fed(None, wanted(1).into_iter(), |next| next().unwrap()), None);
    }
}
