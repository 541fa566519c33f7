//! What a report may replace, and what not.

use super::*;

fn files(texts: &[(&str, &str)]) -> Files {
    texts.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let files = below(dir).unwrap().into_iter().filter(|(_, is_dir)| !is_dir);
    files.map(|(path, _)| path.display().to_string()).collect()
}

fn write(out: &Path, files: &Files) -> Result<PathBuf> {
    super::write(out, files, |_| {})
}

#[test]
fn a_report_takes_the_place_of_the_one_before_and_of_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("deep/report");
    let first = files(&[("index.html", "1"), ("figures/a.svg", "a")]);
    assert_eq!(write(&out, &first).unwrap(), out.join("index.html"));
    assert_eq!(names(&out), ["SHA256SUMS", "figures/a.svg", "index.html"]);
    let second = files(&[("index.html", "2"), ("data/b.csv", "b")]);
    write(&out, &second).unwrap();
    assert_eq!(names(&out), ["SHA256SUMS", "data/b.csv", "index.html"]);
    assert_eq!(fs::read_to_string(out.join("index.html")).unwrap(), "2");
    // Nothing is left beside it.
    assert_eq!(names(out.parent().unwrap()).len(), 3);
    fs::write(out.join("data/notes.txt"), "mine").unwrap();
    let refused = write(&out, &first).unwrap_err().to_string();
    assert!(refused.contains("notes.txt") && refused.contains("--out"), "{refused}");
    assert_eq!(fs::read_to_string(out.join("index.html")).unwrap(), "2");
}

#[test]
fn other_directories_are_refused_and_empty_ones_taken() {
    let dir = tempfile::tempdir().unwrap();
    let report = files(&[("index.html", "1")]);
    for (name, other) in [("a", "index.html"), ("b", SUMS)] {
        let out = dir.path().join(name);
        fs::create_dir(&out).unwrap();
        fs::write(out.join(other), "mine").unwrap();
        assert!(write(&out, &report).is_err());
        assert_eq!(fs::read_to_string(out.join(other)).unwrap(), "mine");
    }
    fs::create_dir(dir.path().join("empty")).unwrap();
    write(&dir.path().join("empty"), &report).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(check(&dir.path().join("file")).is_err());
}

#[test]
fn what_a_killed_process_left_is_no_hindrance() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("report");
    let new = dir.path().join(staging("report"));
    fill(&new, &files(&[("index.html", "half"), ("figures/x.svg", "x")])).unwrap();
    fs::remove_file(new.join("index.html")).unwrap();
    fs::write(new.join("figures/x.svg"), "ha").unwrap();
    write(&out, &files(&[("index.html", "whole")])).unwrap();
    assert_eq!(names(dir.path()), ["report/SHA256SUMS", "report/index.html"]);
    // Killed even earlier: the list is half-written.
    for half in ["", "# self", "# selffer report 1\n0123"] {
        fs::create_dir(&new).unwrap();
        fs::write(new.join(SUMS), half).unwrap();
        write(&out, &files(&[("index.html", "again")])).unwrap();
        assert_eq!(names(dir.path()), ["report/SHA256SUMS", "report/index.html"]);
    }
}

/// Where two directories cannot be exchanged, and a process was killed between the two renames.
#[test]
fn a_report_that_was_put_aside_is_taken_back_or_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    let [out, new, aside] = ["report", ".report.new", ".report.old"].map(|name| dir.path().join(name));
    let whole = ["report/SHA256SUMS", "report/index.html"];
    let page = |at: &Path| fs::read_to_string(at.join("index.html")).unwrap();
    write(&out, &files(&[("index.html", "1")])).unwrap();
    fs::rename(&out, &aside).unwrap();
    fill(&new, &files(&[("index.html", "2")])).unwrap();
    // The next cannot be written either: what was whole before is there again.
    assert!(write(&out, &files(&[("index.html", "3"), ("index.html/x", "")])).is_err());
    assert_eq!((names(dir.path()), page(&out)), (whole.map(str::to_owned).to_vec(), "1".to_owned()));
    // So where an empty directory was made in its place.
    fs::rename(&out, &aside).unwrap();
    fs::create_dir(&out).unwrap();
    assert!(write(&out, &files(&[("index.html", "3"), ("index.html/x", "")])).is_err());
    assert_eq!((names(dir.path()), page(&out)), (whole.map(str::to_owned).to_vec(), "1".to_owned()));
    // Killed after the second rename: the report is there, and the one before as well.
    fill(&aside, &files(&[("index.html", "1")])).unwrap();
    write(&out, &files(&[("index.html", "4")])).unwrap();
    assert_eq!((names(dir.path()), page(&out)), (whole.map(str::to_owned).to_vec(), "4".to_owned()));
    // In turn, as where there is no exchange, over what was left there.
    fill(&aside, &files(&[("index.html", "1")])).unwrap();
    fill(&new, &files(&[("index.html", "5")])).unwrap();
    replace_in_turn(&new, &out).unwrap();
    assert_eq!((page(&out), page(&new), aside.exists()), ("5".to_owned(), "4".to_owned(), false));
    // What is somebody's own stays: another file, or one of a report that was changed.
    for (name, text) in [("notes", "mine"), ("index.html", "mine")] {
        fill(&aside, &files(&[("index.html", "1")])).unwrap();
        fs::write(aside.join(name), text).unwrap();
        write(&out, &files(&[("index.html", "6")])).unwrap();
        assert_eq!(
            (fs::read_to_string(aside.join(name)).unwrap(), page(&out)),
            (text.to_owned(), "6".to_owned())
        );
        fs::remove_dir_all(&aside).unwrap();
    }
}

/// Killed when all files but the list are gone.
#[test]
fn a_report_that_was_being_removed_is_removed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let [out, new] = ["report", ".report.new"].map(|name| dir.path().join(name));
    fill(&new, &files(&[("index.html", "1"), ("figures/deep/x.svg", "x")])).unwrap();
    fs::remove_file(new.join("index.html"))
        .and_then(|()| fs::remove_file(new.join("figures/deep/x.svg")))
        .unwrap();
    write(&out, &files(&[("index.html", "2")])).unwrap();
    assert_eq!(names(dir.path()), ["report/SHA256SUMS", "report/index.html"]);
    assert!(!new.exists());
}

#[test]
fn a_store_knows_what_is_made_beside_its_report() {
    use crate::store::{REPORT, REPORTS_BESIDE};
    let new = PathBuf::from(staging(REPORT));
    assert_eq!(REPORTS_BESIDE.map(PathBuf::from), [new.clone(), new.with_extension(ASIDE)]);
}

/// Refused by `check`, so before anything is made, and by `write`; nothing is another than before.
#[track_caller]
fn refused(out: &Path, word: &str) {
    for error in [check(out).unwrap_err(), write(out, &files(&[("index.html", "new")])).unwrap_err()] {
        let error = error.to_string();
        assert!(error.contains(word) && error.contains("--out"), "{word} in: {error}");
    }
}

#[test]
fn what_somebody_changed_in_a_report_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("report");
    let report = files(&[("index.html", "1"), ("figures/a.svg", "a")]);
    write(&out, &report).unwrap();
    fs::write(out.join("figures/a.svg"), "mine").unwrap();
    refused(&out, "figures/a.svg in it, which was changed");
    assert_eq!(fs::read_to_string(out.join("figures/a.svg")).unwrap(), "mine");
    // A link in a file's place, and a directory that is empty.
    fs::write(out.join("keep"), "a").unwrap();
    fs::remove_file(out.join("figures/a.svg")).unwrap();
    std::os::unix::fs::symlink("../keep", out.join("figures/a.svg")).unwrap();
    refused(&out, "figures/a.svg in it, which was changed");
    fs::remove_file(out.join("figures/a.svg")).unwrap();
    refused(&out, "keep in it, which selffer did not write");
    fs::remove_file(out.join("keep")).unwrap();
    fs::create_dir(out.join("notes")).unwrap();
    refused(&out, "notes in it, which selffer did not write");
    fs::remove_dir(out.join("notes")).unwrap();
    // A file that is gone is no loss.
    write(&out, &report).unwrap();
    assert_eq!(names(&out), ["SHA256SUMS", "figures/a.svg", "index.html"]);
}

#[test]
fn places_that_cannot_be_changed_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    refused(Path::new("/"), "the root of all files");
    refused(Path::new("/proc"), "a file system is mounted");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    refused(&link, "a link to what is not there");
    refused(&dir.path().join("new/.."), "is no name");
    // A link to a report, or to an empty directory, leads there.
    fs::create_dir(dir.path().join("nowhere")).unwrap();
    write(&link, &files(&[("index.html", "1")])).unwrap();
    assert!(link.is_symlink() && dir.path().join("nowhere/index.html").is_file());
    // What lies where reports are made is not taken for one.
    let new = dir.path().join(staging("report"));
    fs::create_dir(&new).unwrap();
    fs::write(new.join("notes.txt"), "mine").unwrap();
    let error = check(&dir.path().join("report")).unwrap_err().to_string();
    assert!(error.contains(".report.new") && error.contains("move it elsewhere"), "{error}");
    assert_eq!(fs::read_to_string(new.join("notes.txt")).unwrap(), "mine");
}

/// A directory with more things in it than a test could look at: only its list is asked for.
#[test]
fn what_has_no_list_is_not_looked_through() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::set_permissions(&inner, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let found = foreign(dir.path(), true);
    fs::set_permissions(&inner, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    assert!(found.unwrap().unwrap().contains("not a report"));
}

#[test]
fn who_may_read_a_report_stays_as_it_was() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("report");
    fs::create_dir(&out).unwrap();
    fs::set_permissions(&out, fs::Permissions::from_mode(0o2750)).unwrap();
    for text in ["1", "2"] {
        write(&out, &files(&[("index.html", text)])).unwrap();
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o7777, 0o2750);
    }
}

/// What another process is in the middle of writing is looked at again when it is through.
#[test]
fn what_is_being_written_is_not_judged() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("report");
    write(&out, &files(&[("index.html", "1")])).unwrap();
    let writing = File::open(dir.path()).unwrap();
    writing.lock().unwrap();
    // As one reads it of whose files the list is of the report before, and the rest of the next.
    fs::write(out.join("index.html"), "2").unwrap();
    let checked = std::thread::spawn({
        let out = out.clone();
        move || check(&out)
    });
    std::thread::sleep(Duration::from_millis(100));
    fs::write(out.join("index.html"), "1").unwrap();
    writing.unlock().unwrap();
    checked.join().unwrap().unwrap();
    // What is wrong when nobody writes is wrong.
    fs::write(out.join("index.html"), "2").unwrap();
    assert!(check(&out).unwrap_err().to_string().contains("changed since"));
}

#[test]
fn who_waits_for_another_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let held = File::open(dir.path()).unwrap();
    held.lock().unwrap();
    let (said, heard) = std::sync::mpsc::channel();
    let out = dir.path().join("report");
    let writer = std::thread::spawn({
        let out = out.clone();
        move || super::write(&out, &files(&[("index.html", "1")]), |at| said.send(at.to_owned()).unwrap())
    });
    assert_eq!(heard.recv_timeout(Duration::from_secs(600)).unwrap(), dir.path());
    assert!(!out.exists());
    held.unlock().unwrap();
    writer.join().unwrap().unwrap();
    assert!(out.join("index.html").is_file());
}
