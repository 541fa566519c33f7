//! What a store has records of, whatever they are of.
//!
//! Uses `store`, `manifest`, `protocol` and `plan`; used by the commands that look at networks before they know a plan, and
//! where a store has none of the plan's.

use selffer::manifest::Manifest;
use selffer::plan::Plan;
use selffer::protocol::{EMBEDDED, Protocol};
use selffer::recipe::Policy;
use selffer::store::{Entry, Found, Store};
use selffer::text::networks;
use selffer::{Error, Result};

/// The records of a store.
pub struct Records {
    pub whole: Vec<Manifest>,
    /// The first that is damaged, by its file, and how. It may be that of any run.
    damaged: Option<(String, String)>,
}

impl Records {
    /// All records of a store.
    ///
    /// # Errors
    /// Where the system does not let them be read.
    pub fn of(store: &Store) -> Result<Self> {
        let (mut whole, mut damaged) = (Vec::new(), None);
        for entry in store.list()?.0 {
            let Entry::Manifest(recipe) = entry else { continue };
            match store.manifest(recipe)? {
                Found::Whole(manifest) => whole.push(manifest),
                Found::Absent => {}
                Found::Damaged(why) => {
                    damaged.get_or_insert((store.path(&entry).display().to_string(), why));
                }
            }
        }
        Ok(Self { whole, damaged })
    }

    /// Refuses them where one is damaged: it may be the very record that is looked for.
    ///
    /// # Errors
    /// Where one is.
    pub fn sound(&self) -> Result<()> {
        let Some((file, why)) = &self.damaged else { return Ok(()) };
        let mend = "train that network again with `selffer reproduce`, or take the file away";
        Err(Error::invalid(file, format!("is damaged: {why}"), mend))
    }
}

/// Whether a record is of a protocol's network, input and solver.
pub fn is_of(manifest: &Manifest, protocol: &Protocol) -> bool {
    let recipe = &manifest.recipe;
    (&recipe.network, &recipe.input, &recipe.solver) == (&protocol.network, &protocol.input, &protocol.solver)
}

/// The policy of all of a protocol's records, where they have one.
pub fn one_policy<'a>(records: impl Iterator<Item = &'a Manifest>, protocol: &Protocol) -> Option<Policy> {
    let planned =
        |manifest: &&Manifest| protocol.seeds.contains(&manifest.recipe.seed) && is_of(manifest, protocol);
    let mut policies = records.filter(planned).map(|manifest| manifest.recipe.numerics);
    let first = policies.next()?;
    policies.all(|policy| policy == first).then_some(first)
}

/// What is wrong with a store that has networks, and none of a plan's under any policy, and how to mend it.
///
/// # Errors
/// Where the system does not let the records be read.
pub fn strangers(store: &Store, plan: &Plan<'_>) -> Result<Option<(String, String)>> {
    let records = Records::of(store)?.whole;
    let named = plan.by_name();
    let planned = |manifest: &Manifest| {
        let recipe = &manifest.recipe;
        let ours = |run: &usize| plan.recipe(&plan.runs[*run], recipe.numerics, recipe.parent) == *recipe;
        named.get(&manifest.run).is_some_and(ours)
    };
    if records.is_empty() || records.iter().any(planned) {
        return Ok(None);
    }
    let mut known = EMBEDDED.iter().map(|(name, _)| *name).filter(|name| *name != plan.protocol.name);
    let like = known.find(|name| {
        Protocol::named(name).is_ok_and(|theirs| records.iter().all(|manifest| is_of(manifest, &theirs)))
    });
    let mend = like.map_or_else(
        || "name theirs with --protocol, as both were when they were trained".to_owned(),
        |name| format!("name theirs with --protocol, {name} by the look of them"),
    );
    let (count, name) = (networks(records.len()), &plan.protocol.name);
    let problem = format!("has {count}, and none of the protocol {name} and its images as they are now");
    Ok(Some((problem, mend)))
}
