use super::*;
use crate::testing::{TINY, edited};
use std::collections::HashSet;

fn parse(changes: &[(&str, &str)]) -> Result<Protocol> {
    Protocol::parse(&edited(TINY, changes), "a.toml")
}

fn refuse(changes: &[(&str, &str)]) -> String {
    match parse(changes) {
        Ok(_) => panic!("{changes:?} was not refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn embedded_protocols_are_read() {
    for (name, text) in EMBEDDED {
        let protocol = Protocol::named(name).unwrap();
        assert_eq!(protocol.name, name);
        assert_eq!(protocol, Protocol::parse(text, name).unwrap());
        // Where the images have to be brought, they are looked for in the working directory.
        let brought = match name {
            "standard" => DataSource::Idx("digits-garments".into()),
            "cifar100" => DataSource::Cifar("cifar-100-binary".into()),
            "paper" => DataSource::Pack("ilsvrc2012".into()),
            _ => DataSource::Embedded,
        };
        assert_eq!(protocol.data, brought);
    }
    let names: HashSet<_> =
        EMBEDDED.iter().map(|(name, _)| Protocol::named(name).unwrap().digest()).collect();
    assert_eq!(names.len(), EMBEDDED.len());
}

#[test]
fn every_number_is_where_it_was_written() {
    let protocol = parse(&[]).unwrap();
    assert_eq!((protocol.train_per_class, protocol.valid_per_class), (Some(6), Some(4)));
    assert_eq!((protocol.seeds.as_slice(), protocol.network.conv), ([1, 2].as_slice(), [2, 3, 2, 3, 2]));
    assert_eq!((protocol.network.hidden, protocol.network.filler), ([4, 3], Filler::He));
    let expected = Solver {
        epochs: 2,
        steps: None,
        batch: 5,
        rate: 0.05,
        rate_drops: vec![1],
        rate_factor: 0.1,
        momentum: 0.9,
        decay: 5e-4,
        update: None,
    };
    assert_eq!(protocol.solver, expected);
    let treatments: Vec<String> = protocol.splits[0].treatments.iter().map(ToString::to_string).collect();
    assert_eq!(treatments, ["baseA", "baseB", "A1B", "A4B", "B1B+", "B4B+", "R1A", "R4A"]);
    let all = parse(&[("depths = [1, 4]", "")]).unwrap();
    assert_eq!(all.splits[0].treatments.len(), 2 + 3 * 7);
}

#[test]
fn the_rate_drops_at_the_start_of_epochs() {
    let solver = Solver { rate: 1.0, rate_factor: 0.5, rate_drops: vec![2, 4], ..parse(&[]).unwrap().solver };
    assert_eq!([0, 1, 2, 3, 4, 5].map(|epoch| solver.rate_at(epoch)), [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
}

#[test]
fn unknown_keys_name_the_nearest() {
    for (from, to, nearest) in [
        ("epochs = 2", "epoch = 2", "epochs"),
        ("momentum = 0.9", "momentun = 0.9", "momentum"),
        ("rate_drops = [1]", "rate_drop = [1]", "rate_drops"),
        ("seeds = [1, 2]", "seed = [1, 2]", "seeds"),
        ("train_per_class = 6", "train_per_clas = 6", "train_per_class"),
        ("filler", "fillers", "filler"),
        ("treatments = [", "treatment = [", "treatments"),
        ("[[split]]", "[[splits]]", "split"),
        ("random = 0", "randon = 0", "random"),
        (r#""he""#, r#""hee""#, "he"),
        (r#"data = "embedded""#, r#"data = "embeded""#, "embedded"),
    ] {
        let error = refuse(&[(from, to)]);
        assert!(error.starts_with("a.toml, line "), "{error}");
        assert!(error.contains(&format!("nearest that is known is `{nearest}`")), "{error}");
    }
    let slurm =
        "[slurm]\ntime = \"3\"\n\n[[slurm.network]]\ntreatments = [\"AnB\"]\nmemm = \"3G\"\n\n[network]";
    assert!(refuse(&[("[network]", slurm)]).starts_with("a.toml, line 14: unknown field `memm`"));
    // A key that is like none.
    let error = refuse(&[("[network]", "[slurm.slurm]\n\n[network]")]);
    assert!(error.ends_with("README.md shows what a protocol holds"), "{error}");
    for (slurm, nearest) in [
        ("[slurm]\nmax_runing = 2", "max_running"),
        ("[slurm]\nper_jobs = 2", "per_job"),
        ("[slurm]\npartitoin = \"p\"", "partition"),
        ("[[slurm.networks]]\ntreatments = [\"AnB\"]", "network"),
        ("[[slurm.network]]\ntreatment = [\"AnB\"]", "treatments"),
    ] {
        let error = refuse(&[("[network]", &format!("{slurm}\n\n[network]"))]);
        assert!(error.contains(&format!("`; the nearest that is known is `{nearest}`")), "{error}");
    }
    // The line is that of the key: TINY begins with an empty line, and `seeds` is on its sixth.
    assert!(refuse(&[("seeds = [1, 2]", "sedes = [1, 2]")]).starts_with("a.toml, line 6: "));
}

#[test]
fn numbers_out_of_range_are_refused_by_key() {
    for (from, to, key) in [
        (r#"name = "tiny""#, r#"name = "a/b""#, "`name`"),
        (r#"name = "tiny""#, r#"name = """#, "`name`"),
        (r#"name = "half""#, r#"name = "..""#, "`split.name`"),
        ("train_per_class = 6", "train_per_class = 0", "`train_per_class`"),
        ("valid_per_class = 4", "valid_per_class = 0", "`valid_per_class`"),
        ("seeds = [1, 2]", "seeds = []", "`seeds`"),
        ("seeds = [1, 2]", "seeds = [3, 3]", "`seeds` has 3 twice"),
        ("depths = [1, 4]", "depths = [0, 4]", "`depths` cannot be 0"),
        ("depths = [1, 4]", "depths = [1, 8]", "`depths` cannot be 8"),
        ("depths = [1, 4]", "depths = []", "`depths`"),
        ("depths = [1, 4]", "depths = [4, 4]", "`depths` has 4 twice"),
        ("conv = [2,", "conv = [0,", "`network.conv` cannot be 0"),
        ("hidden = [4,", "hidden = [65537,", "`network.hidden` cannot be 65537"),
        (r#""he""#, "{ gaussian = 0.0 }", "`filler.gaussian`"),
        (r#""he""#, "{ gaussian = -1.0 }", "`filler.gaussian`"),
        (r#""he""#, "{ gaussian = nan }", "`filler.gaussian`"),
        (r#""he""#, "{ gaussian = inf }", "`filler.gaussian`"),
        ("epochs = 2", "epochs = 0", "`solver.epochs`"),
        ("epochs = 2", "epochs = 100001", "`solver.epochs`"),
        ("batch = 5", "batch = 0", "`solver.batch`"),
        ("batch = 5", "batch = 65537", "`solver.batch`"),
        ("rate = 0.05", "rate = 0.0", "`solver.rate`"),
        ("rate = 0.05", "rate = -0.1", "`solver.rate`"),
        ("rate = 0.05", "rate = 100.1", "`solver.rate`"),
        ("rate = 0.05", "rate = nan", "`solver.rate`"),
        ("rate_drops = [1]", "rate_drops = [0]", "`solver.rate_drops` cannot be 0"),
        ("rate_drops = [1]", "rate_drops = [2]", "`solver.rate_drops` cannot be 2"),
        ("rate_drops = [1]", "rate_drops = [1, 1]", "`solver.rate_drops` has 1 twice"),
        ("rate_factor = 0.1", "rate_factor = 0.0", "`solver.rate_factor`"),
        ("rate_factor = 0.1", "rate_factor = 1.1", "`solver.rate_factor`"),
        ("rate_factor = 0.1", "rate_factor = nan", "`solver.rate_factor`"),
        ("momentum = 0.9", "momentum = 1.0", "`solver.momentum`"),
        ("momentum = 0.9", "momentum = -0.1", "`solver.momentum`"),
        ("momentum = 0.9", "momentum = nan", "`solver.momentum`"),
        ("decay = 5e-4", "decay = 1.0", "`solver.decay`"),
        ("decay = 5e-4", "decay = -1e-9", "`solver.decay`"),
        ("decay = 5e-4", "decay = nan", "`solver.decay`"),
        (r#""baseA", "baseB""#, r#""baseA", "baseA""#, "`split half treatments` has"),
        (r#""AnB""#, r#""AnB", "A4B""#, "`split half treatments` has"),
        (r#""AnB""#, r#""A9B""#, "1 to 7 can be copied"),
        (r#""AnB""#, r#""AnC""#, "is no treatment"),
        ("{ random = 0 }", r#""whole""#, "a whole split has task A alone"),
    ] {
        let error = refuse(&[(from, to)]);
        assert!(error.starts_with("a.toml: ") && error.contains(key), "{to}: {error}");
    }
    // Of the wrong type or sign altogether: the line is named.
    for (from, to) in [
        ("batch = 5", "batch = -5"),
        ("batch = 5", "batch = 5.5"),
        ("conv = [2, 3, 2, 3, 2]", "conv = [2, 3, 2, 3]"),
        ("conv = [2, 3, 2, 3, 2]", "conv = [2, 3, 2, 3, 2, 3]"),
        ("hidden = [4, 3]", "hidden = [4, 3, 3]"),
        ("momentum = 0.9", ""),
        ("momentum = 0.9", "momentum = 0.9\nmomentum = 0.8"),
        ("batch = 5", "batch ="),
        ("[[split]]", "[split]"),
    ] {
        let error = refuse(&[(from, to)]);
        assert!(error.starts_with("a.toml, line "), "{to}: {error}");
    }
    assert!(refuse(&[(&TINY[TINY.find("[[split]]").unwrap()..], "")]).contains("split"));
    let twice = TINY[TINY.find("[[split]]").unwrap()..].repeat(2);
    let error = Protocol::parse(&edited(TINY, &[("[[split]]", &format!("{twice}[[split]]"))]), "a.toml");
    assert!(error.unwrap_err().to_string().contains("`split names` has half twice"));
}

#[test]
fn bounds_themselves_are_fine() {
    for (from, to) in [
        ("rate = 0.05", "rate = 100"),
        ("rate_factor = 0.1", "rate_factor = 1.0"),
        ("momentum = 0.9", "momentum = 0.0"),
        ("decay = 5e-4", "decay = 0"),
        ("rate_drops = [1]", "rate_drops = []"),
        ("hidden = [4,", "hidden = [65536,"),
        ("epochs = 2", "epochs = 100000"),
        ("batch = 5", "batch = 65536"),
        ("seeds = [1, 2]", "seeds = [0, 9223372036854775807]"),
    ] {
        assert!(parse(&[(from, to)]).is_ok(), "{to}: {:?}", parse(&[(from, to)]));
    }
}

#[test]
fn the_digest_is_of_the_numbers_alone() {
    let digest = |changes: &[(&str, &str)]| parse(changes).unwrap().digest();
    let plain = digest(&[]);
    for same in [
        [("[network]", "# A comment.\n[network]")],
        [("batch = 5", "batch   =   5 # images")],
        [("decay = 5e-4", "decay = 0.0005")],
        [("seeds = [1, 2]", "seeds = [\n  1,\n  0x2,\n]")],
        // Key order.
        [("epochs = 2\nbatch = 5\nrate = 0.05", "rate = 0.05\nepochs = 2\nbatch = 5")],
        [("halves = { random = 0 }\ntreatments", "halves.random = 0\ntreatments")],
        // Another way to say the same treatments.
        [(r#""AnB""#, r#""A1B", "A4B""#)],
    ] {
        assert_eq!(digest(&same), plain, "{same:?}");
    }
    let idx = |dir: &str| digest(&[(r#""embedded""#, &format!("{{ idx = {dir:?} }}"))]);
    assert_eq!(idx("/here"), idx("/there/else"));

    let mut seen = HashSet::from([plain, idx("/here")]);
    for (from, to) in [
        (r#"name = "tiny""#, r#"name = "tinier""#),
        ("train_per_class = 6", "train_per_class = 7"),
        ("train_per_class = 6", ""),
        ("valid_per_class = 4", "valid_per_class = 5"),
        ("valid_per_class = 4", ""),
        ("seeds = [1, 2]", "seeds = [1]"),
        ("seeds = [1, 2]", "seeds = [1, 3]"),
        ("depths = [1, 4]", "depths = [1, 5]"),
        ("depths = [1, 4]", "depths = [1]"),
        ("conv = [2, 3, 2, 3, 2]", "conv = [3, 3, 2, 3, 2]"),
        ("conv = [2, 3, 2, 3, 2]", "conv = [2, 3, 3, 3, 2]"),
        ("conv = [2, 3, 2, 3, 2]", "conv = [2, 3, 2, 3, 3]"),
        ("hidden = [4, 3]", "hidden = [3, 4]"),
        ("hidden = [4, 3]", "hidden = [4, 4]"),
        (r#""he""#, "{ gaussian = 0.01 }"),
        (r#""he""#, "{ gaussian = 0.02 }"),
        ("epochs = 2", "epochs = 3"),
        ("batch = 5", "batch = 6"),
        ("rate = 0.05", "rate = 0.050000000000000003"),
        ("rate = 0.05", "rate = 0.05000000000000001"),
        ("rate_drops = [1]", "rate_drops = []"),
        ("rate_factor = 0.1", "rate_factor = 0.2"),
        ("momentum = 0.9", "momentum = 0.8"),
        ("decay = 5e-4", "decay = 5e-5"),
        (r#"name = "half""#, r#"name = "other""#),
        ("random = 0", "random = 1"),
        (r#", "RnA""#, ""),
        (r#""RnA""#, r#""RnB""#),
    ] {
        // One of these is no change: the same double, spelt longer.
        let same = to == "rate = 0.050000000000000003";
        assert_eq!(!seen.insert(digest(&[(from, to)])), same, "{to}");
    }
}

#[test]
fn a_file_is_read_from_where_it_lies() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("mine.toml");
    let name = path.to_str().unwrap();
    let missing = Protocol::named(name).unwrap_err().to_string();
    assert!(
        missing.contains("neither a protocol that is built in nor a file; name one of smoke, ci"),
        "{missing}"
    );
    std::fs::write(&path, edited(TINY, &[(r#""embedded""#, r#"{ idx = "images" }"#)])).unwrap();
    let protocol = Protocol::named(name).unwrap();
    assert_eq!(protocol.data, DataSource::Idx(dir.path().join("images")));
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(Protocol::named(name).unwrap_err().to_string().contains("mine.toml: is not UTF-8 text"));
    std::fs::write(&path, "name = ").unwrap();
    assert!(Protocol::named(name).unwrap_err().to_string().contains("mine.toml, line 1: "));
}

/// CIFAR-100's hundred classes, each in one half; five of each superclass.
#[test]
fn cifar100_is_divided_by_kind() {
    let protocol = Protocol::named("cifar100").unwrap();
    let Halves::Named { a, b } = &protocol.splits[1].halves else { panic!("{:?}", protocol.splits[1]) };
    assert_eq!((a.len(), b.len()), (70, 30));
    assert_eq!(a.iter().chain(b).collect::<HashSet<_>>().len(), 100);
}

#[test]
fn published_halves_are_the_paper_s() {
    let published = |text: &str| {
        let halves = format!("halves = {{ published = {text} }}");
        parse(&[("halves = { random = 0 }", &halves)]).map(|protocol| protocol.splits[0].halves.clone())
    };
    assert_eq!(published("3").unwrap(), Halves::Published(Published::Random(3)));
    let kind = published("\"natman\"").unwrap();
    assert_eq!(kind, Halves::Published(Published::Kind(crate::published::Kind::NaturalManMade)));
    for (text, named) in [
        ("4", "`split half halves.published` cannot be 4; the paper has 0 to 3, and \"natman\""),
        ("\"x\"", "a published split is 0, 1, 2, 3 or \"natman\""),
        ("-1", "a published split is 0, 1, 2, 3 or \"natman\""),
    ] {
        let error = published(text).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}
