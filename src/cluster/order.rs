//! A work order: the file that tells `selffer work` what to train. It never changes once it is written.
//!
//! Uses `protocol` and `recipe`; written by `selffer submit` under `STORE/jobs/DIGEST/`, named by its own
//! content. It carries the protocol's text, so that a protocol file may change or go while jobs wait.

use crate::canonical;
use crate::digest::{DataDigest, Digest, ProtocolDigest};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::protocol::Protocol;
use crate::recipe::Policy;
use crate::whole;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The format's name and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// Version 1.
    #[serde(rename = "selffer work 1")]
    V1,
}

/// Bytes of an order, at the most.
const MOST: u64 = 1 << 30;

/// What to train, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The format.
    pub format: Format,
    /// The protocol's name, or the absolute path of its file.
    pub origin: String,
    /// The protocol's text.
    pub protocol: String,
    /// The absolute path of the directory of its images, wherever a job begins; none where it brings them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The digest of those images; none in orders of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<DataDigest>,
    /// The digest of the protocol that was planned.
    pub protocol_digest: ProtocolDigest,
    /// The numerics policy.
    pub numerics: Policy,
    /// The number of the GPU that computes, among those that a job may see; the first where none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<u32>,
    /// How often states are kept, as on the command line.
    pub snapshot_every: String,
    /// How many networks of an element are trained at once; as many as it has, or the cores, where none.
    pub jobs: Option<u16>,
    /// The runs of each element, by its index.
    pub elements: BTreeMap<u32, Vec<String>>,
}

impl Order {
    /// Its digest, which names its directory.
    pub fn digest(&self) -> Digest {
        Digest::of(canonical::json(self).as_bytes())
    }

    /// Its file.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::json(self).into_bytes()
    }

    /// Reads an order.
    ///
    /// # Errors
    /// Where it cannot be read, is none, or was changed since it was written.
    pub fn read(path: &Path) -> Result<Self> {
        let mend = "name a plan.json that `selffer submit` wrote";
        let text = whole::text(path, MOST, mend)?;
        let order = serde_json::from_str(&text)
            .map_err(|error| Error::at(path, format!("is no work order ({error})"), mend))?;
        let named = path.parent().and_then(Path::file_name).unwrap_or_default();
        if *named != *Digest::of(text.as_bytes()).hex() {
            let problem = "is not what its directory is named by: it was changed after it was written";
            return Err(Error::at(path, problem, "submit again"));
        }
        Ok(order)
    }

    /// Whether it may be of that plan under that policy.
    pub fn is_of(&self, plan: &Plan<'_>, policy: Policy) -> bool {
        let same = |images| images == plan.catalog.digest;
        self.protocol_digest == plan.protocol.digest()
            && self.numerics == policy
            && self.images.is_none_or(same)
    }

    /// That the images at hand are those that it was planned for.
    ///
    /// # Errors
    /// Where they are not.
    pub fn check_images(&self, images: DataDigest) -> Result<()> {
        if self.images.is_none_or(|planned| planned == images) {
            return Ok(());
        }
        let place = self.data.clone().unwrap_or_else(|| self.origin.clone());
        let problem = "has other images than when this job was submitted";
        Err(Error::invalid(place, problem, "put those back, or cancel the job and submit again"))
    }

    /// The protocol, which is to be the one that was planned.
    ///
    /// # Errors
    /// Where this program reads it otherwise.
    pub fn protocol(&self) -> Result<Protocol> {
        let mut protocol = Protocol::of_text(&self.protocol, &self.origin)?;
        if let (Some(place), Some(dir)) = (&self.data, protocol.data.dir_mut()) {
            *dir = place.into();
        }
        if protocol.digest() != self.protocol_digest {
            let problem = "is read otherwise by this program than by the one that planned it";
            return Err(Error::invalid(&self.origin, problem, "submit again with this program"));
        }
        Ok(protocol)
    }

    /// The runs of an element of a plan, by index; those of all elements where none is named.
    ///
    /// # Errors
    /// Where the order has no such element, or the plan no such run.
    pub fn runs(&self, plan: &Plan<'_>, element: Option<u32>) -> Result<Vec<usize>> {
        let names: Vec<&String> = match element {
            None => self.elements.values().flatten().collect(),
            Some(index) => match self.elements.get(&index) {
                Some(names) => names.iter().collect(),
                None => {
                    let mend = "take an index of the job's array";
                    return Err(Error::invalid("--index", format!("{index} is not in the order"), mend));
                }
            },
        };
        let known = plan.by_name();
        let find = |name: &String| {
            known.get(name).copied().ok_or_else(|| {
                let problem = "is no run of the order's protocol";
                Error::invalid(name, problem, "submit again with this program")
            })
        };
        names.into_iter().map(find).collect()
    }
}
