//! A Caffe network and a Caffe solver, as far as the experiment depends on them.
//!
//! Uses `audit::prototxt`; used by `audit::runs`. A weighted layer is a convolution or an inner product;
//! the experiment's networks have eight. The authors rename a layer (`conv4-new`) so that Caffe does not
//! copy its weights, and give it rates of zero to freeze it.

use super::prototxt::{Field, Malformed, Message};

/// What a renamed layer's name ends with.
const RENAMED: &str = "-new";

/// How many weighted layers each network has.
pub const WEIGHTED: usize = 8;

/// One `layers { layer { … } … }`.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Its type (`conv`, `innerproduct`, `relu`, …).
    pub kind: String,
    /// The line of its name, from 1.
    pub line: u32,
    /// Multipliers of the learning rate, of weights and biases, with their lines; Caffe takes 1 where
    /// there is none.
    pub rates: Vec<(f64, u32)>,
    /// How many outputs it has.
    pub outputs: Option<u64>,
    /// Images in a batch, of a data layer.
    pub batch: Option<u64>,
    /// All else that it is given, in the file's words, sorted.
    settings: Vec<String>,
    /// How its weights are drawn, likewise.
    fillers: Vec<String>,
    bottom: Vec<String>,
    top: Vec<String>,
}

impl Layer {
    /// Whether it has weights.
    pub fn is_weighted(&self) -> bool {
        self.kind == "conv" || self.kind == "innerproduct"
    }

    /// Whether its name keeps Caffe from copying its weights.
    pub fn is_renamed(&self) -> bool {
        self.name.ends_with(RENAMED)
    }

    /// Its name without that ending.
    pub fn plain_name(&self) -> &str {
        plain(&self.name)
    }

    /// Whether no weight and no bias of it is trained.
    pub fn is_frozen(&self) -> bool {
        !self.rates.is_empty() && self.rates.iter().all(|(rate, _)| *rate == 0.0)
    }

    /// Whether all of it is trained.
    pub fn is_trained(&self) -> bool {
        self.rates.iter().all(|(rate, _)| *rate > 0.0)
    }
}

fn plain(name: &str) -> &str {
    name.strip_suffix(RENAMED).unwrap_or(name)
}

/// A network file.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// The layers, in the file's order.
    pub layers: Vec<Layer>,
}

impl Network {
    /// Reads a network file.
    ///
    /// # Errors
    /// Where it is not of the format, or a number in it is none.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        let message = Message::read(text)?;
        let mut layers = Vec::new();
        for field in message.all("layers") {
            let outer = message_of(field)?;
            let inner = outer.get("layer").ok_or_else(|| malformed(field, "it has no `layer { … }`"))?;
            layers.push(layer(inner, message_of(inner)?, outer)?);
        }
        match layers.is_empty() {
            true => Err(Malformed { line: 1, problem: "it has no `layers { … }`".to_owned() }),
            false => Ok(Self { layers }),
        }
    }

    /// The layers with weights.
    pub fn weighted(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| layer.is_weighted())
    }

    /// The data layer.
    pub fn data(&self) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.kind == "data")
    }

    /// The network up to its last weighted layer as lines, one a layer, that are the same for two
    /// networks that compute the same: names without their `-new`, rates left out, layers that only pad
    /// drawn into the convolution after them. `fillers` says whether how weights are drawn belongs to it.
    pub fn signature(&self, fillers: bool) -> Vec<String> {
        let last = self.layers.iter().rposition(Layer::is_weighted).map_or(0, |at| at + 1);
        let padding = |layer: &&Layer| layer.kind == "padding";
        let body = self.layers[..last].iter().filter(|layer| layer.kind != "data" && !padding(layer));
        body.map(|layer| {
            let mut words = vec![layer.plain_name().to_owned(), layer.kind.clone()];
            words.extend(layer.outputs.map(|outputs| format!("num_output={outputs}")));
            words.extend(layer.settings.iter().cloned());
            let mut bottom = layer.bottom.clone();
            // A layer that pads passes its setting on, and stands for what it pads.
            for pad in self.layers.iter().filter(padding) {
                if pad.top.iter().any(|top| layer.bottom.contains(top)) {
                    words.extend(pad.settings.iter().cloned());
                    bottom = pad.bottom.clone();
                }
            }
            words[2..].sort();
            if fillers {
                words.extend(layer.fillers.iter().cloned());
            }
            let names = |list: &[String]| list.iter().map(|name| plain(name)).collect::<Vec<_>>().join(",");
            words.push(format!("{} -> {}", names(&bottom), names(&layer.top)));
            words.join(" ")
        })
        .collect()
    }
}

fn layer(field: &Field, inner: &Message, outer: &Message) -> Result<Layer, Malformed> {
    let text = |name: &str| inner.get(name).map(|field| field.text().to_owned()).unwrap_or_default();
    let count = |name: &str| match inner.get(name) {
        None => Ok(None),
        Some(field) => match field.text().parse::<u64>() {
            // A batch of no images trains nothing.
            Ok(count) if count <= 1 << 32 && (count > 0 || name != "batchsize") => Ok(Some(count)),
            _ => Err(malformed(field, format!("`{}` is out of range for {name}", field.text()))),
        },
    };
    let mut rates = Vec::new();
    for field in inner.all("blobs_lr") {
        match field.text().parse::<f64>() {
            Ok(rate) if rate.is_finite() && rate >= 0.0 => rates.push((rate, field.line)),
            _ => return Err(malformed(field, format!("`{}` is out of range for blobs_lr", field.text()))),
        }
    }
    let known = ["name", "type", "num_output", "batchsize", "blobs_lr", "weight_decay", "source", "meanfile"];
    let mut settings: Vec<String> = inner
        .fields
        .iter()
        .filter(|field| field.message().is_none() && !known.contains(&field.name.as_str()))
        .map(|field| format!("{}={}", field.name, field.text()))
        .collect();
    settings.sort();
    let filler = |field: &Field| {
        let words = field.message()?.fields.iter().map(|part| format!("{}={}", part.name, part.text()));
        Some(format!("{}({})", field.name, words.collect::<Vec<_>>().join(" ")))
    };
    let ends = |name: &str| outer.all(name).map(|field| field.text().to_owned()).collect();
    Ok(Layer {
        name: text("name"),
        kind: text("type"),
        line: inner.get("name").unwrap_or(field).line,
        rates,
        outputs: count("num_output")?,
        batch: count("batchsize")?,
        settings,
        fillers: inner.fields.iter().filter_map(filler).collect(),
        bottom: ends("bottom"),
        top: ends("top"),
    })
}

fn message_of(field: &Field) -> Result<&Message, Malformed> {
    field.message().ok_or_else(|| malformed(field, format!("`{}` has no braces", field.name)))
}

fn malformed(field: &Field, problem: impl Into<String>) -> Malformed {
    Malformed { line: field.line, problem: problem.into() }
}

/// Iterations between two validation passes times passes; more are refused.
const PASSES_MAX: u64 = 1_000_000;

/// A solver file.
#[derive(Debug, Clone, PartialEq)]
pub struct Solver {
    /// Every setting as it is written, sorted by name.
    pub settings: Vec<(String, String)>,
    /// Iterations of training.
    pub max_iter: u64,
    /// Iterations between validation passes.
    pub test_interval: u64,
    /// Batches of one validation pass.
    pub test_iter: u64,
    /// The learning rate that it starts with.
    pub base_lr: f64,
    /// What the rate is multiplied by, after every `stepsize` iterations.
    pub gamma: f64,
    /// Iterations between two changes of the rate.
    pub stepsize: u64,
}

impl Solver {
    /// Reads a solver file.
    ///
    /// # Errors
    /// Where it is not of the format, lacks a setting, or a setting is out of range.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        let message = Message::read(text)?;
        let get =
            |name: &str| message.get(name).ok_or(Malformed { line: 1, problem: format!("it has no {name}") });
        let count = |name: &str| {
            let field = get(name)?;
            match field.text().parse::<u64>() {
                Ok(count) if (1..=super::log::ITERATION_MAX).contains(&count) => Ok(count),
                _ => Err(malformed(field, format!("`{}` is out of range for {name}", field.text()))),
            }
        };
        let rate = |name: &str| {
            let field = get(name)?;
            match field.text().parse::<f64>() {
                Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
                _ => Err(malformed(field, format!("`{}` is out of range for {name}", field.text()))),
            }
        };
        let policy = get("lr_policy")?;
        if policy.text() != "step" {
            return Err(malformed(
                policy,
                format!("learning rate policy `{}`; only `step` is read", policy.text()),
            ));
        }
        let mut settings: Vec<(String, String)> =
            message.fields.iter().map(|field| (field.name.clone(), field.text().to_owned())).collect();
        settings.sort();
        let solver = Self {
            settings,
            max_iter: count("max_iter")?,
            test_interval: count("test_interval")?,
            test_iter: count("test_iter")?,
            base_lr: rate("base_lr")?,
            gamma: rate("gamma")?,
            stepsize: count("stepsize")?,
        };
        if solver.max_iter / solver.test_interval > PASSES_MAX {
            let problem = format!("it asks for more than {PASSES_MAX} validation passes");
            return Err(malformed(get("test_interval")?, problem));
        }
        Ok(solver)
    }

    /// The learning rate of an iteration.
    pub fn rate(&self, iteration: u64) -> f64 {
        let drops = i32::try_from(iteration / self.stepsize).unwrap_or(i32::MAX);
        self.base_lr * self.gamma.powi(drops)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET: &str = "layers { layer { name: 'data' type: 'data' batchsize: 50 } top: 'data' top: 'label' }\n\
        layers { layer { name: 'conv1' type: 'conv' num_output: 4 pad: 2 weight_filler { std: 0.01 }\n\
        blobs_lr: 0.\n blobs_lr: 0. } bottom: 'data' top: 'conv1' }\n\
        layers { layer { name: 'relu1' type: 'relu' } bottom: 'conv1' top: 'conv1' }\n\
        layers { layer { name: 'fc8-new' type: 'innerproduct' num_output: 10 } bottom: 'conv1' top: 'fc8-new' }\n\
        layers { layer { name: 'loss' type: 'softmax_loss' } bottom: 'fc8-new' bottom: 'label' }";

    #[test]
    fn layers_say_what_is_frozen_and_what_is_drawn_anew() {
        let net = Network::read(NET).unwrap();
        let weighted: Vec<_> = net.weighted().collect();
        assert_eq!(weighted.len(), 2);
        assert!(weighted[0].is_frozen() && !weighted[0].is_renamed() && !weighted[0].is_trained());
        assert!(!weighted[1].is_frozen() && weighted[1].is_renamed() && weighted[1].is_trained());
        assert_eq!((weighted[0].line, weighted[0].rates[1]), (2, (0.0, 4)));
        assert_eq!(net.data().unwrap().batch, Some(50));
    }

    #[test]
    fn signatures_see_through_names_rates_and_padding() {
        let net = Network::read(NET).unwrap();
        assert_eq!(
            net.signature(true),
            [
                "conv1 conv num_output=4 pad=2 weight_filler(std=0.01) data -> conv1",
                "relu1 relu conv1 -> conv1",
                "fc8 innerproduct num_output=10 conv1 -> fc8",
            ]
        );
        let padded = NET.replace("pad: 2 ", "").replacen("bottom: 'data'", "bottom: 'pad1'", 1).replacen(
            "layers { layer { name: 'conv1'",
            "layers { layer { name: 'pad1' type: 'padding' pad: 2 } bottom: 'data' top: 'pad1' }\n\
             layers { layer { name: 'conv1'",
            1,
        );
        assert_eq!(Network::read(&padded).unwrap().signature(true), net.signature(true));
        let wider =
            NET.replace("num_output: 4", "num_output: 5").replace("fc8-new", "fc8").replace("0.\n", "1.\n");
        let wider = Network::read(&wider).unwrap().signature(false);
        assert_eq!(wider.iter().zip(net.signature(false)).filter(|(a, b)| *a != b).count(), 1);
    }

    #[test]
    fn networks_out_of_range_are_refused_with_their_line() {
        for (old, new, line) in [
            ("num_output: 4", "num_output: -4", 2),
            ("num_output: 10", "num_output: 99999999999999999999", 6),
            ("blobs_lr: 0.\n blobs_lr: 0.", "blobs_lr: 1\n blobs_lr: nan", 4),
            ("layers { layer { name: 'relu1' type: 'relu' }", "layers { lair { }", 5),
        ] {
            assert_eq!(Network::read(&NET.replacen(old, new, 1)).unwrap_err().line, line, "{new}");
        }
        assert!(Network::read("name: 'x'").is_err());
    }

    const SOLVER: &str = "test_iter: 1000\ntest_interval: 1000\nbase_lr: 0.01\nlr_policy: \"step\"\ngamma: 0.1\n\
        stepsize: 100000\nmax_iter: 450000\n";

    #[test]
    fn the_solver_gives_each_iteration_its_rate() {
        let solver = Solver::read(SOLVER).unwrap();
        assert_eq!((solver.rate(1), solver.rate(99_999)), (0.01, 0.01));
        assert!((solver.rate(100_000) - 1e-3).abs() < 1e-12 && (solver.rate(450_000) - 1e-6).abs() < 1e-15);
        for (old, new, line) in [
            ("max_iter: 450000", "max_iter: 99999999999", 7),
            ("gamma: 0.1", "gamma: 1e999", 5),
            ("test_interval: 1000", "test_interval: 0", 2),
            ("\"step\"", "\"inv\"", 4),
            ("stepsize: 100000", "", 1),
            ("test_interval: 1000\nbase_lr: 0.01", "test_interval: 1\nbase_lr: 0.01\nmax_iter: 9", 2),
        ] {
            let text = SOLVER.replacen(old, new, 1).replace("max_iter: 450000", "max_iter: 450000000");
            let text =
                if old.starts_with("test_interval: 1000\n") { text } else { SOLVER.replacen(old, new, 1) };
            assert_eq!(Solver::read(&text).unwrap_err().line, line, "{new}");
        }
    }
}
