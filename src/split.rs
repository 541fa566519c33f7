//! A split: which classes and images make up task A and task B.
//!
//! Uses `data`, `protocol`, `published`, `seed`; used by `plan`, `verify` and whoever trains. A split is written as
//! a file that lists every class and, by content digest, every image, in the order in which training
//! indexes them; the SHA-256 of that file is the split's digest.

use crate::canonical;
use crate::data::{Dataset, Images, Part};
use crate::digest::{DataDigest, Digest, ImageDigest, SplitDigest};
use crate::error::{Error, Result, nearest};
use crate::input::Pixels;
use crate::protocol::{Halves, Input, Protocol, SplitRule, Subtract};
use crate::published;
use crate::seed::{Name, Stream};
use crate::treatment::Task;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// The images of one class in a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// The class's name.
    pub name: String,
    /// Its training images.
    pub train: Vec<ImageDigest>,
    /// Its validation images.
    pub valid: Vec<ImageDigest>,
}

impl Class {
    /// The images of one part.
    pub fn part(&self, part: Part) -> &[ImageDigest] {
        match part {
            Part::Train => &self.train,
            Part::Valid => &self.valid,
        }
    }
}

/// A split of a data set's classes; labels of a task are indices into its list of classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The format's name and version.
    pub format: Format,
    /// The split's name.
    pub name: String,
    /// The data set it was taken from.
    pub data: DataDigest,
    /// Task A's classes.
    #[serde(rename = "A")]
    pub a: Vec<Class>,
    /// Task B's classes; none on a `whole` split.
    #[serde(rename = "B")]
    pub b: Vec<Class>,
}

/// The only format of split files there is so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// Version 1.
    #[serde(rename = "selffer split 1")]
    V1,
}

/// An image that a split has in more than one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The image.
    pub image: ImageDigest,
    /// Where it occurs: task, part, class, each place once, in order.
    pub places: Vec<(Task, Part, String)>,
}

impl Overlap {
    /// Whether it occurs in both tasks.
    pub fn across_tasks(&self) -> bool {
        Task::BOTH.iter().all(|task| self.places.iter().any(|place| place.0 == *task))
    }

    /// Whether it occurs in training and in validation.
    pub fn across_parts(&self) -> bool {
        Part::BOTH.iter().all(|part| self.places.iter().any(|place| place.1 == *part))
    }

    /// Whether it occurs in two classes of one part of a task.
    pub fn across_classes(&self) -> bool {
        // A place is there once, so two of one task and part are two classes.
        let same = |(at, place): (usize, &(Task, Part, String))| {
            self.places[at + 1..].iter().any(|other| (other.0, other.1) == (place.0, place.1))
        };
        self.places.iter().enumerate().any(same)
    }
}

impl Split {
    /// Divides the images of `catalog` by `rule`.
    ///
    /// # Errors
    /// Where a named class does not exist or is on both sides, a task would be empty, or a class has
    /// fewer images than the protocol takes.
    pub fn make(rule: &SplitRule, protocol: &Protocol, catalog: &Catalog) -> Result<Self> {
        let data = &catalog.data;
        let (a, b) = halves(rule, &data.classes)?;
        let class = |index: usize| -> Result<Class> {
            let name = data.classes[index].clone();
            let take = |part, wanted: Option<u32>| {
                let found = &catalog.by_class[index][part as usize];
                let wanted = wanted.map_or(found.len(), |count| count as usize);
                let invalid =
                    |problem, mend| Err(Error::invalid(format!("split {}", rule.name), problem, mend));
                if found.is_empty() {
                    return invalid(
                        format!("class {name} has no {part} images"),
                        "leave the class out".to_owned(),
                    );
                }
                if found.len() < wanted {
                    let problem = format!("class {name} has {} {part} images, not {wanted}", found.len());
                    return invalid(problem, format!("lower {part}_per_class, or leave the class out"));
                }
                Ok(found[..wanted].iter().map(|at| catalog.digests[part as usize][*at]).collect())
            };
            let train = take(Part::Train, protocol.train_per_class)?;
            let valid = take(Part::Valid, protocol.valid_per_class)?;
            Ok(Class { name: name.clone(), train, valid })
        };
        Ok(Self {
            format: Format::V1,
            name: rule.name.clone(),
            data: catalog.digest,
            a: a.into_iter().map(class).collect::<Result<_>>()?,
            b: b.into_iter().map(class).collect::<Result<_>>()?,
        })
    }

    /// The split as its file holds it.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::json(self).into_bytes()
    }

    /// The SHA-256 of its file.
    pub fn digest(&self) -> SplitDigest {
        SplitDigest(Digest::of(&self.to_bytes()))
    }

    /// One task's classes.
    pub fn task(&self, task: Task) -> &[Class] {
        match task {
            Task::A => &self.a,
            Task::B => &self.b,
        }
    }

    /// How many images a task has in a part.
    pub fn count(&self, task: Task, part: Part) -> usize {
        self.task(task).iter().map(|class| class.part(part).len()).sum()
    }

    /// The split with the first `most` training images of each class: what a network on reduced data sees.
    pub fn reduced(&self, most: u32) -> Self {
        let mut reduced = self.clone();
        for class in reduced.a.iter_mut().chain(&mut reduced.b) {
            class.train.truncate(most as usize);
        }
        reduced
    }

    /// The images that the split has in more than one place, found by content.
    pub fn overlaps(&self) -> Vec<Overlap> {
        let mut places: BTreeMap<ImageDigest, Vec<(Task, Part, String)>> = BTreeMap::new();
        for task in Task::BOTH {
            for class in self.task(task) {
                for part in Part::BOTH {
                    for image in class.part(part) {
                        let place = (task, part, class.name.clone());
                        let known = places.entry(*image).or_default();
                        if !known.contains(&place) {
                            known.push(place);
                        }
                    }
                }
            }
        }
        places
            .into_iter()
            .filter(|(_, places)| places.len() > 1)
            .map(|(image, places)| Overlap { image, places })
            .collect()
    }
}

/// A data set with its digests, indexed by class: made once, for any number of splits.
pub struct Catalog {
    /// The data set.
    pub data: Dataset,
    /// Its digest.
    pub digest: DataDigest,
    /// Mean and deviation of its training pixels, on the scale 0 to 1.
    pub moments: (f64, f64),
    // The mean of its training images: made where a recipe subtracts it.
    mean: OnceLock<Vec<f32>>,
    // Indexed by part, then by image.
    digests: [Vec<ImageDigest>; 2],
    // By part, the images' indices in the order of their digests: made where images are first picked.
    sorted: [OnceLock<Vec<u32>>; 2],
    // Indexed by class, then by part: the images of that class in file order.
    by_class: Vec<[Vec<usize>; 2]>,
}

impl Catalog {
    /// Digests and indexes `data`.
    pub fn of(data: Dataset) -> Self {
        let mut by_class = vec![<[Vec<usize>; 2]>::default(); data.classes.len()];
        for part in Part::BOTH {
            for (at, label) in data.part(part).labels.iter().enumerate() {
                by_class[usize::from(*label)][part as usize].push(at);
            }
        }
        Self {
            digest: data.digest(),
            moments: data.pixel_moments(),
            mean: OnceLock::new(),
            digests: Part::BOTH.map(|part| data.part(part).digests()),
            sorted: Default::default(),
            by_class,
            data,
        }
    }

    /// What pixels are measured by where images enter so.
    pub fn pixels(&self, input: Option<&Input>) -> Pixels<'_> {
        let subtracts = input.is_some_and(|input| input.subtract == Subtract::MeanImage);
        let mean = || self.mean.get_or_init(|| self.data.mean_image()).as_slice();
        Pixels { moments: self.moments, mean: subtracts.then(mean) }
    }

    /// The images of one part of one task, in the split's order, labelled by the task's classes. They are
    /// picked; no pixel is copied.
    ///
    /// # Errors
    /// Where the split names an image that the data set lacks.
    pub fn images(&self, split: &Split, task: Task, part: Part) -> Result<Images> {
        let digests = &self.digests[part as usize];
        let sorted = self.sorted[part as usize].get_or_init(|| {
            let mut sorted: Vec<u32> = (0..digests.len() as u32).collect();
            sorted.sort_unstable_by_key(|at| (&digests[*at as usize], *at));
            sorted
        });
        let (mut picked, mut labels) = (Vec::new(), Vec::new());
        for (label, class) in split.task(task).iter().enumerate() {
            for image in class.part(part) {
                let at = sorted.binary_search_by_key(&image, |at| &digests[*at as usize]).map_err(|_| {
                    let problem = format!("names {part} image {image}, which the data do not have");
                    Error::invalid(format!("split {}", split.name), problem, "use the data it was made from")
                })?;
                picked.push(sorted[at] as usize);
                labels.push(label as u16);
            }
        }
        Ok(self.data.part(part).pick(&picked, labels))
    }
}

/// The class indices of A and of B, each in ascending order.
fn halves(rule: &SplitRule, classes: &[String]) -> Result<(Vec<usize>, Vec<usize>)> {
    let invalid = |problem: String, mend: &str| Error::invalid(format!("split {}", rule.name), problem, mend);
    match &rule.halves {
        Halves::Whole if classes.len() < 2 => {
            let problem = format!("has {} class to tell apart", classes.len());
            Err(invalid(problem, "take data with at least two classes"))
        }
        Halves::Whole => Ok(((0..classes.len()).collect(), Vec::new())),
        Halves::Random(seed) => {
            if classes.len() < 4 {
                let problem = format!("cannot halve {} classes", classes.len());
                return Err(invalid(problem, "take data with at least two classes for each task"));
            }
            let mut stream = Stream::open(&Name::new("split").and("seed", seed));
            let mut order: Vec<usize> =
                stream.permutation(classes.len()).into_iter().map(|at| at as usize).collect();
            let mut b = order.split_off(classes.len() / 2);
            order.sort_unstable();
            b.sort_unstable();
            Ok((order, b))
        }
        Halves::Published(split) => {
            published::numbered_alike(classes, &format!("split {}", rule.name))?;
            let [a, b] =
                Task::BOTH.map(|task| split.half(task).into_iter().map(usize::from).collect::<Vec<_>>());
            Ok((a, b))
        }
        Halves::Named { a, b } => {
            let find = |names: &[String]| -> Result<Vec<usize>> {
                let mut found = Vec::new();
                for name in names {
                    let Some(at) = classes.iter().position(|class| class == name) else {
                        let mend = match nearest(name, classes.iter().map(String::as_str)) {
                            Some(nearest) => format!("the nearest class is {nearest}"),
                            None => format!("they begin with {}", classes[..classes.len().min(3)].join(", ")),
                        };
                        let problem = format!("names class {name}, which the data do not have");
                        return Err(invalid(problem, &mend));
                    };
                    found.push(at);
                }
                found.sort_unstable();
                Ok(found)
            };
            let (a, b) = (find(a)?, find(b)?);
            let mut all: Vec<usize> = a.iter().chain(&b).copied().collect();
            all.sort_unstable();
            if let Some(pair) = all.windows(2).find(|pair| pair[0] == pair[1]) {
                let problem = format!("names class {} twice", classes[pair[0]]);
                return Err(invalid(problem, "name each class once"));
            }
            if a.len() < 2 || b.len() < 2 {
                let problem = "leaves a task with fewer than two classes".to_owned();
                return Err(invalid(problem, "give A and B two at least"));
            }
            Ok((a, b))
        }
    }
}

#[cfg(test)]
mod tests;
