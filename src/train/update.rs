//! The solver's rule: what a gradient changes in a weight and its momentum.
//!
//! Uses libtorch and `protocol`; a part of `train`.

use crate::protocol::{Solver, Update};
use tch::{Device, TchError, Tensor};

/// Numbers of a tensor that are updated at once on a CPU: what is computed on the way then stays in its cache. With 61
/// million weights it is four times as fast as all at once; no number's bits depend on it.
const PIECE: i64 = 1 << 15;

/// Changes one weight and its momentum, in place.
pub(super) fn update(
    solver: &Solver,
    rate: f64,
    weight: &Tensor,
    velocity: &Tensor,
    gradient: &Tensor,
) -> Result<(), TchError> {
    let (is_bias, total) = (weight.dim() == 1, weight.numel() as i64);
    if total <= PIECE || weight.device() != Device::Cpu {
        return update_piece(solver, rate, is_bias, weight, velocity, gradient);
    }
    // A convolution's gradient may lie in memory in another order.
    let [weight, velocity, gradient] = [weight, velocity, &gradient.f_contiguous()?].map(|it| it.f_view(-1));
    let (weight, velocity, gradient) = (weight?, velocity?, gradient?);
    for start in (0..total).step_by(PIECE as usize) {
        let piece = |tensor: &Tensor| tensor.f_narrow(0, start, PIECE.min(total - start));
        update_piece(solver, rate, is_bias, &piece(&weight)?, &piece(&velocity)?, &piece(&gradient)?)?;
    }
    Ok(())
}

/// Changes a part of one weight and of its momentum, in place.
fn update_piece(
    solver: &Solver,
    rate: f64,
    is_bias: bool,
    weight: &Tensor,
    velocity: &Tensor,
    gradient: &Tensor,
) -> Result<(), TchError> {
    let (mut weight, mut velocity) = (weight.shallow_clone(), velocity.shallow_clone());
    match solver.update {
        // v ← momentum · v + gradient + decay · w;  w ← w − rate · v
        None => {
            let change = gradient.f_add(&weight.f_mul_scalar(solver.decay)?)?;
            let _ = velocity.f_mul_scalar_(solver.momentum)?.f_add_(&change)?;
            let _ = weight.f_sub_(&velocity.f_mul_scalar(rate)?)?;
        }
        // v ← momentum · v + rate · (gradient + decay · w);  w ← w − v
        Some(Update::Caffe) => {
            let change = match is_bias {
                true => gradient.f_mul_scalar(2.0 * rate)?,
                false => gradient.f_add(&weight.f_mul_scalar(solver.decay)?)?.f_mul_scalar(rate)?,
            };
            let _ = velocity.f_mul_scalar_(solver.momentum)?.f_add_(&change)?;
            let _ = weight.f_sub_(&velocity)?;
        }
    }
    Ok(())
}
