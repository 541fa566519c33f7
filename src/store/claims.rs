//! Claims in the store: `claims/RECIPE-NUMBER.json`, made by one process and no second.
//!
//! Uses `claim`; used by `fence`, which says when, and by `status`. A claim is no result: it is not synced,
//! and one that cannot be read says nothing of its holder.

use super::names::{CLAIMS, LOCKS, numbered};
use super::{Store, unfinished};
use crate::claim::Claim;
use crate::digest::RecipeDigest;
use crate::error::{Error, Result};
use crate::whole;
use std::collections::HashMap;
use std::fs::TryLockError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Bytes of a claim, at the most.
const MOST: u64 = 1 << 20;

/// A network's last claim: its number, and what it says where that can be read.
pub type Last = (u64, Option<Claim>);

impl Store {
    fn claim_path(&self, recipe: RecipeDigest, number: u64) -> PathBuf {
        self.dir.join(CLAIMS).join(format!("{}-{number}.json", recipe.hex()))
    }

    /// Makes a claim of its number. False where there is one of that number: another process was first.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn make_claim(&self, recipe: RecipeDigest, claim: &Claim) -> Result<bool> {
        let path = self.claim_path(recipe, claim.number);
        let file = self.unfinished_claim(claim, &path)?;
        match file.persist_noclobber(&path) {
            Ok(_) => Ok(true),
            // A network file system may have done it, lost the answer, and then met its own work.
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
                Ok(read(&path)?.as_ref() == Some(claim))
            }
            Err(error) => Err(Error::io("write", &path)(error.error)),
        }
    }

    /// Writes a claim that is this process's anew.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn renew_claim(&self, recipe: RecipeDigest, claim: &Claim) -> Result<()> {
        let path = self.claim_path(recipe, claim.number);
        let file = self.unfinished_claim(claim, &path)?;
        file.persist(&path).map_err(|error| Error::io("write", &path)(error.error))?;
        Ok(())
    }

    fn unfinished_claim(&self, claim: &Claim, path: &Path) -> Result<tempfile::NamedTempFile> {
        unfinished::filled(&self.dir, path, &serde_json::to_vec(claim).expect("a claim is JSON"))
    }

    /// Whether there is a claim of a number above that one.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn claimed_after(&self, recipe: RecipeDigest, number: u64) -> Result<bool> {
        // A link that leads nowhere has the name all the same.
        Ok(whole::there_itself(&self.claim_path(recipe, number + 1))?.is_some())
    }

    /// The last claim of a network.
    ///
    /// # Errors
    /// Where the system does not let it be read.
    pub fn last_claim(&self, recipe: RecipeDigest) -> Result<Option<Last>> {
        let mut number = 0;
        while self.claimed_after(recipe, number)? {
            number += 1;
        }
        match number {
            0 => Ok(None),
            _ => Ok(Some((number, read(&self.claim_path(recipe, number))?))),
        }
    }

    /// Every claim of a network that can be read, in order.
    ///
    /// # Errors
    /// As for [`Store::last_claim`].
    pub fn claims(&self, recipe: RecipeDigest) -> Result<Vec<Claim>> {
        let last = self.last_claim(recipe)?.map_or(0, |(number, _)| number);
        let all = (1..=last).map(|number| read(&self.claim_path(recipe, number)));
        Ok(all.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// The number of the last claim of every network that has one, by one look at the directory.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn claimed(&self) -> Result<HashMap<RecipeDigest, u64>> {
        let mut last = HashMap::new();
        for path in self.inside(CLAIMS)? {
            if let Some((recipe, number)) = numbered(&path, ".json") {
                let highest = last.entry(recipe).or_insert(number);
                *highest = number.max(*highest);
            }
        }
        Ok(last)
    }

    /// The claim of a network with that number, if it can be read.
    ///
    /// # Errors
    /// As for [`Store::last_claim`].
    pub fn claim(&self, recipe: RecipeDigest, number: u64) -> Result<Option<Claim>> {
        read(&self.claim_path(recipe, number))
    }

    /// Whether a process holds a network's lock, as far as this machine is told.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn locked(&self, recipe: RecipeDigest) -> Result<bool> {
        let path = self.dir.join(LOCKS).join(recipe.hex());
        // For reading, since who looks need not be allowed to write.
        let file = match whole::open(&path) {
            Err(error) if whole::nothing(&error) => return Ok(false),
            file => file.map_err(Error::io("open", &path))?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
        }
    }
}

fn read(path: &Path) -> Result<Option<Claim>> {
    match whole::read(path, MOST) {
        Ok(bytes) => Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok())),
        Err(error) if whole::nothing(&error) || whole::circular(&error) => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}
