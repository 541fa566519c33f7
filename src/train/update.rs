//! The solver's rule: what gradients change in weights and their momentum.
//!
//! Uses libtorch, through `update.cpp`, and `protocol`; a part of `train`.

use crate::protocol::{Solver, Update};
use std::ffi::{CStr, c_char};
use tch::{Device, TchError, Tensor};
use torch_sys::C_tensor;

/// Numbers of a tensor that are updated at once on a CPU: what is computed on the way then stays in its cache. With 61
/// million weights it is four times as fast as all at once; no number's bits depend on it.
const PIECE: i64 = 1 << 15;

/// A weight, its momentum and its gradient.
pub(super) type Change = [Tensor; 3];

/// As `update.cpp` has it.
#[repr(i32)]
#[derive(Clone, Copy)]
enum Form {
    Plain,
    CaffeWeight,
    CaffeBias,
}

#[allow(unsafe_code)]
unsafe extern "C" {
    fn selffer_update(
        form: Form,
        momentum: f64,
        decay: f64,
        rate: f64,
        count: usize,
        weights: *const *mut C_tensor,
        velocities: *const *mut C_tensor,
        gradients: *const *mut C_tensor,
        message: *mut c_char,
        message_size: usize,
    ) -> i32;
}

/// Changes weights and their momentum, in place.
pub(super) fn update(solver: &Solver, rate: f64, mut changes: Vec<Change>) -> Result<(), TchError> {
    // A convolution's gradient may lie in memory in another order, and operations over a list are quick where none does.
    for [.., gradient] in &mut changes {
        *gradient = gradient.f_contiguous()?;
    }
    for (form, rate, changes) in groups(solver, rate, changes) {
        // A GPU is to have few operations, a CPU small ones.
        if changes.iter().any(|[weight, ..]| weight.device() != Device::Cpu) {
            apply(form, solver, rate, &changes)?;
            continue;
        }
        for change in changes {
            for piece in pieces(change)? {
                apply(form, solver, rate, &[piece?])?;
            }
        }
    }
    Ok(())
}

/// What is changed alike, and at which rate.
fn groups(solver: &Solver, rate: f64, changes: Vec<Change>) -> Vec<(Form, f64, Vec<Change>)> {
    match solver.update {
        None => vec![(Form::Plain, rate, changes)],
        Some(Update::Caffe) => {
            let (biases, weights) = changes.into_iter().partition(|[weight, ..]| weight.dim() == 1);
            vec![(Form::CaffeWeight, rate, weights), (Form::CaffeBias, 2.0 * rate, biases)]
        }
    }
}

/// The parts of a change that are made one after the other.
fn pieces(
    [weight, velocity, gradient]: Change,
) -> Result<impl Iterator<Item = Result<Change, TchError>>, TchError> {
    let total = weight.numel() as i64;
    let flat = [weight.f_view(-1)?, velocity.f_view(-1)?, gradient.f_view(-1)?];
    Ok((0..total).step_by(PIECE as usize).map(move |start| {
        let [weight, velocity, gradient] =
            flat.each_ref().map(|all| all.f_narrow(0, start, PIECE.min(total - start)));
        Ok([weight?, velocity?, gradient?])
    }))
}

/// Makes all changes at once. On a CPU their bits are those of one after the other (a test); a GPU was never asked.
#[allow(unsafe_code)]
fn apply(form: Form, solver: &Solver, rate: f64, changes: &[Change]) -> Result<(), TchError> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut message = [0 as c_char; 512];
    let [weights, velocities, gradients] = [0, 1, 2].map(|which: usize| {
        changes.iter().map(|change| change[which].as_ptr().cast_mut()).collect::<Vec<_>>()
    });
    // SAFETY: all tensors live until the call is over, there are as many of each as it is told, the message ends in a
    // nul as its last byte is never written, and what C++ throws is caught.
    let done = unsafe {
        selffer_update(
            form,
            solver.momentum,
            solver.decay,
            rate,
            changes.len(),
            weights.as_ptr(),
            velocities.as_ptr(),
            gradients.as_ptr(),
            message.as_mut_ptr(),
            message.len(),
        )
    };
    if done == 1 {
        return Ok(());
    }
    // SAFETY: as above.
    let message = unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy().into_owned();
    Err(TchError::Torch(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::Numerics;
    use crate::recipe::Policy;
    use crate::testing::tiny;
    use proptest::prelude::*;

    /// Weights, biases and one weight of several pieces, whose gradients lie in memory in orders of their own.
    fn changes(values: &[f32]) -> Vec<Change> {
        let shapes: [&[i64]; 4] = [&[4, 3, 3, 3], &[4], &[70, 500], &[1]];
        let mut from = 0;
        let mut tensor = |shape: &[i64]| {
            from += 1;
            let total = shape.iter().product::<i64>() as usize;
            let values: Vec<f32> = values.iter().cycle().skip(from * 7).take(total).copied().collect();
            match shape {
                [a, b, c, d] => Tensor::from_slice(&values).reshape([*a, *c, *d, *b]).permute([0, 3, 1, 2]),
                _ => Tensor::from_slice(&values).reshape(shape),
            }
        };
        shapes.map(|shape| [tensor(shape).contiguous(), tensor(shape).contiguous(), tensor(shape)]).into()
    }

    fn numbers(changes: &[Change]) -> Vec<Vec<u8>> {
        changes.iter().flatten().map(|tensor| crate::net::bytes(tensor).unwrap()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn together_is_one_after_the_other_and_by_the_rule(
            values in prop::collection::vec(-2.0f32..2.0, 50..100),
            rate in 1e-4..0.5f64,
            caffe: bool,
        ) {
            Numerics::engage(Policy::Portable).unwrap().enter_thread();
            let solver = Solver { update: caffe.then_some(Update::Caffe), momentum: 0.9, decay: 5e-4, ..tiny(&[]).solver };
            let (before, one_by_one, together) = (changes(&values), changes(&values), changes(&values));
            let copies = |all: &[Change]| all.iter().map(|change| change.each_ref().map(Tensor::shallow_clone)).collect();
            update(&solver, rate, copies(&one_by_one)).unwrap();
            let groups = groups(&solver, rate, copies(&together));
            groups.iter().for_each(|(form, rate, group)| apply(*form, &solver, *rate, group).unwrap());
            prop_assert_eq!(numbers(&one_by_one), numbers(&together));
            // The rule, number by number, each step of it rounded.
            for (before, after) in before.iter().zip(&one_by_one) {
                let is_bias = before[0].dim() == 1;
                let [w, v, g] = before.each_ref().map(|tensor| crate::net::from_tensor(tensor).unwrap().values);
                let [w_after, v_after, g_after] = after.each_ref().map(|tensor| crate::net::from_tensor(tensor).unwrap().values);
                prop_assert_eq!(&g, &g_after);
                let (momentum, decay, rate) = (0.9f32, 5e-4f32, rate as f32);
                for at in 0..w.len() {
                    let decayed = g[at] + w[at] * decay;
                    let (velocity, step) = match (caffe, is_bias) {
                        (false, _) => { let v = v[at] * momentum + decayed; (v, v * rate) }
                        (true, false) => { let v = v[at] * momentum + decayed * rate; (v, v) }
                        (true, true) => { let v = v[at] * momentum + g[at] * (2.0 * rate); (v, v) }
                    };
                    prop_assert_eq!((velocity.to_bits(), (w[at] - step).to_bits()), (v_after[at].to_bits(), w_after[at].to_bits()));
                }
            }
        }
    }

    #[test]
    fn what_libtorch_refuses_is_said() {
        Numerics::engage(Policy::Portable).unwrap().enter_thread();
        let wrong = [
            Tensor::from_slice(&[1f32]),
            Tensor::from_slice(&[1f32, 2.0]),
            Tensor::from_slice(&[1f32, 2.0, 3.0]),
        ];
        let error = apply(Form::Plain, &tiny(&[]).solver, 0.1, &[wrong]).unwrap_err().to_string();
        assert!(error.contains("doesn't match the broadcast shape"), "{error}");
    }
}
