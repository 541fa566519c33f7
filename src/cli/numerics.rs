//! What computes, and under which policy: `--device` and `--numerics`, of which one mostly decides the other.
//!
//! Uses `progress`; used by `cli`. Where neither is given, a GPU that is there is taken; so the same line means the same
//! networks in every command on one machine, but for `audit`, which takes those that a store has.

use super::Command;
use super::Golden;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use selffer::numerics;
use selffer::recipe::Policy;
use selffer::{Error, Result};
use std::str::FromStr;

#[derive(Args)]
pub struct Numerics {
    /// What computes: `cpu`; `cuda`, or `cuda:1` for the second GPU; `auto` takes a GPU where there is one and libtorch's
    /// libraries for it. [default: auto]
    #[arg(long, value_name = "DEVICE")]
    device: Option<Device>,
    /// What the bits of a network hold for: `portable` every x86-64-v3 CPU; `native` this machine alone,
    /// with the code that libtorch chooses; `baseline` any x86-64 CPU, slowly; `cuda` this model of GPU.
    /// [default: portable, and cuda where a GPU computes]
    #[arg(long = "numerics", value_name = "POLICY", value_parser = policies())]
    asked: Option<Policy>,
    /// The policy that the two come to.
    #[arg(skip = Policy::Portable)]
    pub policy: Policy,
    /// The number of the GPU that computes, where one does.
    #[arg(skip)]
    pub gpu: u32,
    /// Why a GPU that is there is not taken.
    #[arg(skip)]
    passed: Option<String>,
}

/// A device as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Device {
    Auto,
    Cpu,
    Cuda(u32),
}

impl FromStr for Device {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let number =
            |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(number).map(Self::Cuda),
        }
        .ok_or("take auto, cpu, cuda, or cuda:N for the GPU of number N, from 0")
    }
}

/// The policies by name, so that the usage lists them.
fn policies() -> impl TypedValueParser<Value = Policy> {
    PossibleValuesParser::new(Policy::ALL.map(Policy::name))
        .map(|name| name.parse().expect("one of the names that were listed"))
}

impl Numerics {
    fn device(&self) -> Device {
        self.device.unwrap_or(Device::Auto)
    }

    /// Whether a device was named, and a policy.
    pub fn said(&self) -> (bool, bool) {
        (self.device.is_some(), self.asked.is_some())
    }

    /// Finds the policy that device and policy come to. A GPU is looked for where nothing else decides.
    fn settle(&mut self) -> Result<()> {
        if let (Device::Cpu, Some(Policy::Cuda)) = (self.device(), self.asked) {
            return Err(apart("cpu", Policy::Cuda));
        }
        self.fit()?;
        self.policy = match (self.device(), self.asked) {
            (_, Some(policy)) => policy,
            (Device::Cuda(_), None) => Policy::Cuda,
            (Device::Cpu, None) => Policy::Portable,
            (Device::Auto, None) => self.look(),
        };
        Ok(())
    }

    /// Sees that a GPU is asked for no other networks than its own.
    fn fit(&mut self) -> Result<()> {
        if let Device::Cuda(ordinal) = self.device() {
            self.gpu = ordinal;
        }
        match (self.device(), self.asked) {
            (Device::Cuda(_), Some(policy)) if policy != Policy::Cuda => Err(apart("cuda", policy)),
            _ => Ok(()),
        }
    }

    /// The policy of a GPU where there is one, else of the CPU.
    fn look(&mut self) -> Policy {
        match numerics::Numerics::look_for_gpu() {
            Ok(Some(gpu)) => {
                self.gpu = gpu.ordinal;
                return Policy::Cuda;
            }
            Ok(None) => {}
            Err(why) => self.passed = Some(why),
        }
        Policy::Portable
    }

    /// Puts the policy in force. Call it before any thread is started: it sets environment variables.
    pub fn engage(&self, quiet: bool) -> Result<&'static numerics::Numerics> {
        self.engage_as(self.policy, quiet)
    }

    /// [`Self::engage`], for another policy than the two came to.
    pub fn engage_as(&self, policy: Policy, quiet: bool) -> Result<&'static numerics::Numerics> {
        if let (Some(why), false) = (&self.passed, quiet || policy == Policy::Cuda) {
            crate::progress::say(&format!("the CPU computes, not a GPU: {why}"));
        }
        numerics::Numerics::engage_on(policy, self.gpu)
    }

    /// For networks that are there already: their policy, which is the one that was asked for, else `theirs`, which all
    /// have; and what to compute under. That is the same, but a CPU's where they are a GPU's, and no GPU can be used or the
    /// CPU is asked for.
    pub fn settle_for(&mut self, theirs: Option<Policy>) -> (Policy, Policy) {
        let networks = match (self.device(), self.asked.or(theirs)) {
            (Device::Cuda(_), _) => Policy::Cuda,
            (_, Some(policy)) => policy,
            (Device::Cpu, None) => Policy::Portable,
            (Device::Auto, None) => self.look(),
        };
        let computed = match (networks, self.device()) {
            (Policy::Cuda, Device::Auto) => self.look(),
            (Policy::Cuda, Device::Cpu) => Policy::Portable,
            _ => networks,
        };
        (networks, computed)
    }

    /// Whether a policy may be taken in place of the one that the two came to: nothing that was asked for is against it.
    pub fn may_be(&self, policy: Policy) -> bool {
        let fits = match self.device() {
            Device::Auto => true,
            Device::Cpu => policy != Policy::Cuda,
            Device::Cuda(_) => policy == Policy::Cuda,
        };
        fits && self.asked.is_none()
    }

    /// Whether a GPU was asked for that is not the first.
    pub fn names_another_gpu(&self) -> bool {
        matches!(self.device(), Device::Cuda(1..))
    }
}

fn apart(device: &str, policy: Policy) -> Error {
    let problem = format!("{device} and --numerics {} do not go together", policy.name());
    Error::invalid("--device", problem, "leave one of them out")
}

impl Command {
    /// Finds what computes, for the commands that ask.
    pub fn settle(&mut self) -> Result<()> {
        let numerics = match self {
            Self::Plan(args) => &mut args.common.which.numerics,
            Self::Reproduce(args) => &mut args.common.which.numerics,
            Self::Verify(common) => &mut common.which.numerics,
            Self::Golden(Golden::Check { of, .. } | Golden::Accept { of, .. }) => {
                &mut of.common.which.numerics
            }
            Self::Table(args) => &mut args.common.which.numerics,
            Self::Show(args) => &mut args.which.numerics,
            Self::Report(args) => &mut args.numerics,
            // By the store's networks, later.
            Self::Audit(args) => return args.numerics.fit(),
            Self::Bisect(args) => &mut args.numerics,
            Self::Fingerprint(args) => &mut args.numerics,
            Self::Status(args) => &mut args.which.numerics,
            Self::Submit(args) => &mut args.which.numerics,
            Self::Cancel(args) => &mut args.which.numerics,
            // These are told by a file.
            Self::Work(_) | Self::Replay(_) => return Ok(()),
            Self::Data(_) => return Ok(()),
        };
        numerics.settle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_one_of_the_words() {
        let read = |text: &str| text.parse::<Device>();
        assert_eq!(read("auto"), Ok(Device::Auto));
        assert_eq!(read("cpu"), Ok(Device::Cpu));
        assert_eq!([read("cuda"), read("cuda:0"), read("cuda:3")], [0, 0, 3].map(|n| Ok(Device::Cuda(n))));
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cuda:+1", "cuda: 1", "CUDA", "cuda:4294967296"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn device_and_policy_decide_each_other_or_are_refused() {
        let of = |device, asked| {
            let mut numerics =
                Numerics { device: Some(device), asked, policy: Policy::Portable, gpu: 0, passed: None };
            numerics.settle().map(|()| numerics.policy).map_err(|error| error.to_string())
        };
        assert_eq!(of(Device::Cpu, None), Ok(Policy::Portable));
        assert_eq!(of(Device::Cuda(1), None), Ok(Policy::Cuda));
        for policy in Policy::ALL {
            assert_eq!(of(Device::Auto, Some(policy)), Ok(policy), "what is asked for is not looked for");
            let cpu = policy != Policy::Cuda;
            assert_eq!(of(Device::Cpu, Some(policy)).is_ok(), cpu);
            assert_eq!(of(Device::Cuda(0), Some(policy)).is_ok(), !cpu);
        }
        let said = of(Device::Cuda(0), Some(Policy::Native)).unwrap_err();
        assert_eq!(said, "--device: cuda and --numerics native do not go together; leave one of them out");
    }

    #[test]
    fn networks_that_are_there_have_a_policy_and_are_computed_under_one() {
        use Policy::{Cuda, Native, Portable};
        let of = |device, asked, theirs| {
            let mut numerics =
                Numerics { device: Some(device), asked, policy: Portable, gpu: 0, passed: None };
            numerics.settle_for(theirs)
        };
        for theirs in [None, Some(Portable), Some(Native), Some(Cuda)] {
            assert_eq!(of(Device::Cuda(1), None, theirs), (Cuda, Cuda));
            assert_eq!(of(Device::Auto, Some(Native), theirs), (Native, Native));
            assert_eq!(of(Device::Cpu, Some(Cuda), theirs), (Cuda, Portable));
        }
        assert_eq!(of(Device::Cpu, None, None), (Portable, Portable));
        assert_eq!(of(Device::Cpu, None, Some(Cuda)), (Cuda, Portable));
        assert_eq!(of(Device::Auto, None, Some(Native)), (Native, Native));
    }
}
