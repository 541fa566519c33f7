//! What a step takes that is made without libtorch, made ahead of it: windows cut out of images, units to drop.
//!
//! Uses `data` and `input`; a part of `train`. While one batch is trained on, the images of the next are read, checked and
//! cut by other threads, so that a GPU does not wait for them. What is in a batch is settled before: threads change no bit.

use super::Waited;
use crate::data::Images;
use crate::error::Result;
use crate::input::{Window, cut};
use crate::protocol::Input;
use rayon::prelude::*;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

/// What waits beside that of the step at hand and that being made.
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

    pub(super) fn cut(&self, wanted: &Wanted) -> Result<Cut> {
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

/// Calls `work` with what gives the next of `items`, one call an item. Those that are `dear` are made on a thread of their
/// own, ahead of the call, and `waited` hears how long `work` waited for them, of how long it took. What it leaves is not
/// made, but for those ahead.
pub(super) fn ahead<T: Send, R>(
    dear: bool,
    waited: Waited<'_>,
    mut items: impl Iterator<Item = Result<T>> + Send,
    work: impl FnOnce(&mut dyn FnMut() -> Result<T>) -> R,
) -> R {
    if !dear {
        return work(&mut || items.next().expect("an item for each call"));
    }
    thread::scope(|scope| {
        let (ready, next) = sync_channel(AHEAD);
        scope.spawn(move || {
            for item in items {
                let failed = item.is_err();
                // Nobody takes it: the work ended before its items.
                if ready.send(item).is_err() || failed {
                    break;
                }
            }
        });
        let (begun, mut waiting) = (Instant::now(), Duration::ZERO);
        let done = work(&mut || {
            let asked = Instant::now();
            let item = next.recv().expect("an item for each call");
            waiting += asked.elapsed();
            item
        });
        // Or the thread would go on waiting for somebody to take what it made.
        drop(next);
        waited(waiting, begun.elapsed());
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;
    use crate::error::Error;
    use crate::protocol::Subtract;
    use crate::testing::dataset;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

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
        for dear in [true, false] {
            let cut = wanted(20).into_iter().map(|wanted| source.cut(&wanted));
            check(
                &data,
                ahead(dear, &|_, _| {}, cut, |next| (0..20).map(|_| next().unwrap()).collect::<Vec<_>>()),
            );
        }
    }

    /// That those are what [`wanted`] says, in its order.
    fn check(data: &Dataset, found: Vec<Cut>) {
        for (found, wanted) in found.into_iter().zip(wanted(20)) {
            let (mut windows, mut bytes) = (Vec::new(), Vec::new());
            for (at, window) in wanted {
                let mut out = [0; 9];
                cut(&data.train.image(at).unwrap(), data.train.shape(), 3, window, &mut out);
                windows.push(window);
                bytes.extend(out);
            }
            assert_eq!(found, Cut { windows, bytes });
        }
    }

    /// Of what is not made ahead nothing is told; of what is, once, however the work ends.
    #[test]
    fn what_was_waited_for_is_told_with_the_time_that_it_is_of() {
        let told = Mutex::new(Vec::new());
        let waited = |waited: Duration, of| told.lock().unwrap().push((waited, of));
        let pause = Duration::from_millis(30);
        let slow = || {
            (0..3).map(|at| {
                thread::sleep(pause);
                if at < 2 { Ok(at) } else { Err(Error::Interrupted) }
            })
        };
        assert!(ahead(false, &waited, slow(), |next| [next(), next(), next()])[2].is_err());
        assert_eq!(*told.lock().unwrap(), []);
        assert!(ahead(true, &waited, slow(), |next| [next(), next(), next()])[2].is_err());
        let (first, of) = told.lock().unwrap().pop().unwrap();
        assert!(pause <= first && first <= of, "{first:?} of {of:?}");
        // Who is slower than what is made waits for the first alone.
        ahead(true, &waited, slow(), |next| {
            next().unwrap();
            thread::sleep(5 * pause);
            next().unwrap();
        });
        let (second, of) = told.lock().unwrap().pop().unwrap();
        assert!(pause <= second && second < of - 4 * pause, "{second:?} of {of:?}");
        assert_eq!(*told.lock().unwrap(), []);
    }

    /// Work that ends early leaves the rest unmade and does not wait for it; what failed is the last that is made.
    #[test]
    fn what_is_not_asked_for_is_not_made() {
        let made = AtomicUsize::new(0);
        let endless = || (0..).map(|at| Ok(made.fetch_add(1, Ordering::Relaxed).min(at)));
        assert_eq!(ahead(true, &|_, _| {}, endless(), |next| [next().unwrap(), next().unwrap()]), [0, 1]);
        assert!(made.swap(0, Ordering::Relaxed) <= 2 + AHEAD + 2);
        assert_eq!(ahead(false, &|_, _| {}, endless(), |next| [next().unwrap(), next().unwrap()]), [0, 1]);
        assert_eq!(made.swap(0, Ordering::Relaxed), 2);
        let failing =
            endless().map(|at| at.and_then(|at| if at < 1 { Ok(at) } else { Err(Error::Interrupted) }));
        let [first, second] = ahead(true, &|_, _| {}, failing, |next| [next(), next()]);
        assert!(first.is_ok() && matches!(second, Err(Error::Interrupted)));
        assert_eq!(made.into_inner(), 2);
    }
}
