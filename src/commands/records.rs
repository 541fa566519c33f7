//! What a store has records of, whatever they are of.
//!
//! Uses `store`, `manifest`, `protocol`, `plan` and `progress`; used by the commands that look at networks before they know a
//! plan, and that say or refuse where a store has none of the plan's.

use crate::progress::say;
use selffer::digest::RecipeDigest;
use selffer::manifest::Manifest;
use selffer::plan::Plan;
use selffer::protocol::{EMBEDDED, Protocol};
use selffer::recipe::{Policy, Recipe};
use selffer::store::{Entry, Found, Store};
use selffer::text::networks;
use selffer::{Error, Result};
use std::collections::HashSet;
use std::path::Path;

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

/// The policy of all of a protocol's records, where they have one.
pub fn one_policy<'a>(records: impl Iterator<Item = &'a Manifest>, protocol: &Protocol) -> Option<Policy> {
    let planned = |manifest: &&Manifest| {
        protocol.seeds.contains(&manifest.recipe.seed) && manifest.recipe.is_of(protocol)
    };
    let mut policies = records.filter(planned).map(|manifest| manifest.recipe.numerics);
    let first = policies.next()?;
    policies.all(|policy| policy == first).then_some(first)
}

/// What is wrong with a store that has networks, and none of a plan's under any policy, and how to mend it. A record is of the
/// plan by its recipe, whatever it is called; a base network's is by the name of its file, however damaged.
///
/// # Errors
/// Where the system does not let the records be read.
pub fn strangers(store: &Store, plan: &Plan<'_>) -> Result<Option<(String, String)>> {
    let there = store.manifests()?;
    let bases = plan.runs.iter().filter(|run| run.parent.is_none());
    let named: HashSet<RecipeDigest> =
        bases.flat_map(|run| Policy::ALL.map(|policy| plan.recipe(run, policy, None).digest())).collect();
    if there.iter().any(|recipe| named.contains(recipe)) {
        return Ok(None);
    }
    let planned = |recipe: &Recipe| {
        let mut like =
            plan.runs.iter().filter(|run| (run.treatment, run.seed) == (recipe.treatment, recipe.seed));
        like.any(|run| plan.recipe(run, recipe.numerics, recipe.parent) == *recipe)
    };
    let mut others = Vec::new();
    for digest in there {
        match store.manifest(digest)?.whole() {
            Some(manifest) if planned(&manifest.recipe) => return Ok(None),
            other => others.extend(other),
        }
    }
    if others.is_empty() {
        return Ok(None);
    }
    let like = EMBEDDED.iter().find(|(name, _)| {
        let theirs = |theirs: &Protocol| others.iter().all(|manifest| manifest.recipe.is_of(theirs));
        Protocol::named(name).is_ok_and(|known| known.digest() != plan.protocol.digest() && theirs(&known))
    });
    let mend = like.map_or_else(
        || "name theirs with --protocol, as both were when they were trained".to_owned(),
        |(name, _)| format!("name theirs with --protocol, {name} by the look of them"),
    );
    let (count, name) = (networks(others.len()), &plan.protocol.name);
    Ok(Some((format!("has {count}, and none of the protocol {name} and its images as they are now"), mend)))
}

/// The store of a plan's networks.
///
/// # Errors
/// As of [`acquaint`].
pub fn opened(path: &Path, plan: &Plan<'_>, policy: Policy, quiet: bool) -> Result<Store> {
    let store = Store::open(path)?;
    acquaint(&store, plan, policy, quiet)?;
    Ok(store)
}

/// Says where a store's networks of a plan are of another policy.
///
/// # Errors
/// Where it has networks and none is of the plan: the protocol was not named, or is not as it was.
pub fn acquaint(store: &Store, plan: &Plan<'_>, policy: Policy, quiet: bool) -> Result<()> {
    match strangers(store, plan)? {
        Some((problem, mend)) => Err(Error::at(store.dir(), problem, mend)),
        None => say_elsewhere(store, plan, policy, quiet),
    }
}

/// The policies of which a store has base networks of a plan, where it has none of that one: a machine with a GPU and one
/// without take different ones by themselves.
pub fn elsewhere(store: &Store, plan: &Plan<'_>, policy: Policy) -> Result<Vec<Policy>> {
    let there: HashSet<RecipeDigest> = store.manifests()?.into_iter().collect();
    let has = |policy: &Policy| {
        let mut bases = plan.runs.iter().filter(|run| run.parent.is_none());
        bases.any(|base| there.contains(&plan.recipe(base, *policy, None).digest()))
    };
    let none = there.is_empty() || has(&policy);
    Ok(if none { Vec::new() } else { Policy::ALL.into_iter().filter(has).collect() })
}

/// Says so where there are such, or where a store's networks are all of another protocol.
pub fn say_elsewhere(store: &Store, plan: &Plan<'_>, policy: Policy, quiet: bool) -> Result<()> {
    if quiet {
        return Ok(());
    }
    if let Some((problem, mend)) = strangers(store, plan)? {
        say(&format!("{} {problem}; {mend}", store.dir().display()));
    }
    for other in elsewhere(store, plan, policy)? {
        let (path, none, name) = (store.dir().display(), policy.name(), other.name());
        say(&format!(
            "{path} has networks of this protocol under {name} numerics, none under {none}: --numerics {name}"
        ));
    }
    Ok(())
}
