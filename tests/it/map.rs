//! The code map of ARCHITECTURE.md against the code: every file is in it, and modules use those above them alone. The heads
//! of modules too: what they say that they use, and are used by, is so.

use crate::common::repository;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The files and directories (`name/`) of the map's rows, in order.
fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(repository("ARCHITECTURE.md")).unwrap();
    let map = text.split("## Code map").nth(1).unwrap().split("\n## ").next().unwrap();
    let cells = map.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let named = |(cell, _): (&str, &str)| {
        cell.split('`')
            .filter(|name| !name.is_empty() && !name.starts_with(", "))
            .map(str::to_owned)
            .collect()
    };
    cells.map(named).map(|names: Vec<String>| names.iter().flat_map(|name| spelt(name)).collect()).collect()
}

/// `a/{b,c}.rs` is `a/b.rs` and `a/c.rs`.
fn spelt(name: &str) -> Vec<String> {
    let Some((before, rest)) = name.split_once('{') else { return vec![name.to_owned()] };
    let (within, after) = rest.split_once('}').unwrap();
    within.split(',').map(|part| format!("{before}{part}{after}")).collect()
}

/// All files of the source, without what is compiled for tests alone.
fn sources() -> Vec<PathBuf> {
    let root = repository("src");
    let mut found = Vec::new();
    let mut dirs = vec![root.clone()];
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { dirs.push(path) } else { found.push(path) }
        }
    }
    let tests: BTreeSet<PathBuf> = found.iter().flat_map(|path| modules_of_tests(path)).collect();
    let tested = |path: &PathBuf| path.ancestors().any(|part| tests.contains(&part.with_extension("")));
    found.retain(|path| !tested(path));
    found.sort();
    found.iter().map(|path| path.strip_prefix(&root).unwrap().to_owned()).collect()
}

/// The modules that a file declares for tests alone: paths without an ending.
fn modules_of_tests(path: &Path) -> Vec<PathBuf> {
    let Ok(text) = fs::read_to_string(path) else { return Vec::new() };
    let within = match path.file_stem().unwrap().to_str().unwrap() {
        "lib" | "main" => path.parent().unwrap().to_owned(),
        _ => path.with_extension(""),
    };
    let declared =
        text.split("#[cfg(test)]\n").skip(1).filter_map(|rest| rest.lines().next()?.strip_suffix(';'));
    declared.filter_map(|line| line.split_once("mod ")).map(|(_, name)| within.join(name)).collect()
}

/// The modules of the crate's root that a file uses, tests apart.
fn uses(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(repository("src").join(path)).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = lines.join("\n");
    let root = "super::".repeat(path.components().count());
    for other in ["use crate::{", &root] {
        assert!(!code.contains(other), "{} names the root's modules by `{other}`", path.display());
    }
    let name = |rest: &str| rest.split(|c: char| c != '_' && !c.is_alphanumeric()).next().unwrap().to_owned();
    code.split("crate::").skip(1).map(name).collect()
}

/// The module of the crate's root that a file or a row is in.
fn module(path: &str) -> &str {
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Places of the crate's root that are no modules.
const ROOT: [&str; 2] = ["Error", "Result"];

#[test]
fn the_code_map_has_every_file_and_modules_use_those_above_them() {
    let rows = rows();
    for name in rows.iter().flatten() {
        assert!(repository("src").join(name).exists(), "the map has {name}");
    }
    let mut order: Vec<&str> = rows.iter().flatten().map(|name| module(name)).collect();
    order.dedup();
    let program = order.iter().position(|module| *module == "main").unwrap();
    for (at, module) in order.iter().enumerate() {
        assert!(!order[..at].contains(module), "the rows of {module} are apart");
    }
    let stands = |name: &str| order.iter().position(|module| *module == name);
    let of_tests = modules_of_tests(&repository("src/lib.rs"));
    for path in sources().iter().filter(|path| path.as_path() != Path::new("lib.rs")) {
        let shown = path.to_str().unwrap();
        let has = |name: &String| name == shown || name.ends_with('/') && shown.starts_with(name.as_str());
        assert!(rows.iter().flatten().any(has), "the map lacks {shown}");
        let ours = stands(module(shown)).unwrap();
        // The program around the library is one.
        if ours >= program || path.extension().is_none_or(|ending| ending != "rs") {
            continue;
        }
        for used in uses(path).iter().filter(|used| *used != module(shown) && !ROOT.contains(&used.as_str()))
        {
            if of_tests.iter().any(|path| path.ends_with(used)) {
                continue;
            }
            let above = stands(used).is_some_and(|theirs| theirs < ours);
            assert!(above, "{shown} uses {used}, which does not stand above it in the map");
        }
    }
}

/// The modules that a head names, in the first sentence or part of one that begins with those words.
fn named<'a>(head: &'a str, begins: &str) -> Vec<&'a str> {
    let Some((_, rest)) = head.split_once(begins) else { return Vec::new() };
    let clause = rest.split(". ").next().unwrap().split("; ").next().unwrap();
    clause.split('`').skip(1).step_by(2).map(|name| name.split("::").next().unwrap()).collect()
}

#[test]
fn heads_name_modules_that_are_used_and_that_use() {
    let rows = rows();
    let order: Vec<&str> = rows.iter().flatten().map(|name| module(name)).collect();
    let of_library = &order[..order.iter().position(|module| *module == "main").unwrap()];
    let sources = sources();
    let code = |path: &&PathBuf| path.extension().is_some_and(|ending| ending == "rs");
    let users = |of: &str, used: &str| {
        let mut files = sources.iter().filter(code).filter(|path| module(path.to_str().unwrap()) == of);
        files.any(|path| uses(path).contains(used))
    };
    let mut looked_at = 0;
    for path in &sources {
        let ours = module(path.to_str().unwrap());
        if *path != Path::new(ours).with_extension("rs") || !of_library.contains(&ours) {
            continue;
        }
        let text = fs::read_to_string(repository("src").join(path)).unwrap();
        let lines: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim).collect();
        let head = lines.join(" ");
        let known = |name: &&str| of_library.contains(name) && *name != ours;
        for used in named(&head, "Uses ").into_iter().filter(known) {
            assert!(users(ours, used), "the head of {ours} says that it uses {used}");
            looked_at += 1;
        }
        for user in named(&head, "used by ").into_iter().filter(known) {
            assert!(users(user, ours), "the head of {ours} says that {user} uses it");
            looked_at += 1;
        }
    }
    assert!(looked_at > 50, "{looked_at}");
}
