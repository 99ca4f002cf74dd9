//! Conversion of a large file against plain `cp` and `sha1sum` of the same file, in turn, in one run.
//!
//!     cargo bench --bench convert            # 1 GiB, 600 tensors, 9 rounds
//!     cargo bench --bench convert -- 64 3    # 64 MiB, 3 rounds
//!
//! Every round runs each command once, so that a machine whose speed drifts slows all of them alike; the
//! medians and the medians of the rounds' ratios are printed. The page cache is warm, outputs are removed
//! before each run. `port` puts its output on the disk before it ends, `cp` does not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // a failing bench may panic

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use converters::write::{Options, Target, write};

const TENSORS: usize = 600;

fn main() {
    // cargo passes --bench; numbers are ours.
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let mebibytes = numbers.next().unwrap_or(1024);
    let rounds = numbers.next().unwrap_or(9);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-convert");
    fs::create_dir_all(&folder).unwrap();
    let files = Files::make(&folder, mebibytes << 20);
    let report = Report::measure(&files, rounds);
    report.print(mebibytes, rounds);
    fs::remove_dir_all(&folder).unwrap();
}

/// The same tensors in three formats, and where outputs go.
struct Files {
    safetensors: PathBuf,
    pth: PathBuf,
    pkl: PathBuf,
    output: PathBuf,
}

impl Files {
    fn make(folder: &Path, size: usize) -> Files {
        let file = |name: &str| folder.join(name);
        let files = Files {
            safetensors: file("model.safetensors"),
            pth: file("model.pth"),
            pkl: file("model.pkl"),
            output: file("output"),
        };
        generate(&files.safetensors, size);
        let source = converters::open(&files.safetensors).unwrap();
        write(&source, Target::Torch, &files.pth, Options::default()).unwrap();
        write(&source, Target::Jittor, &files.pkl, Options::default()).unwrap();
        files
    }
}

/// A safetensors file of [`TENSORS`] f32 tensors, sizes spread as in a detector: a few large, many small.
fn generate(path: &Path, size: usize) {
    let weights: Vec<f64> = (0..TENSORS).map(|index| 1.0 / (1.0 + (index % 60) as f64)).collect();
    let total: f64 = weights.iter().sum();
    let lengths: Vec<usize> =
        weights.iter().map(|weight| (size as f64 * weight / total) as usize / 4).collect();
    let mut header = Vec::new();
    let mut at = 0;
    for (index, length) in lengths.iter().enumerate() {
        let end = at + 4 * length;
        header.push(format!(
            r#""layer.{index}.weight":{{"dtype":"F32","shape":[{length}],"data_offsets":[{at},{end}]}}"#
        ));
        at = end;
    }
    let header = format!("{{{}}}", header.join(","));
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    let mut state = 1_u64;
    for _ in 0..at / 4 {
        // Weyl sequence: fast, and no two megabytes are alike.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        file.write_all(&((state >> 40) as f32 / (1 << 24) as f32).to_le_bytes()).unwrap();
    }
    file.flush().unwrap();
}

/// What is timed.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    Cp,
    PthToSafetensors,
    SafetensorsToPth,
    Crc,
    Sha1sum,
    PklToSafetensors,
    Inspect,
}

const ALL: [Work; 7] = [
    Work::Cp,
    Work::PthToSafetensors,
    Work::SafetensorsToPth,
    Work::Crc,
    Work::Sha1sum,
    Work::PklToSafetensors,
    Work::Inspect,
];

impl Work {
    /// Runs once; returns the time and the peak of anonymous memory in KiB.
    fn run(self, files: &Files) -> (Duration, u64) {
        let _ = fs::remove_file(&files.output);
        let convert = |input: &Path, format: &str| {
            let mut command = port();
            command.arg("convert").arg(input).args(["--to", format, "-o"]).arg(&files.output);
            timed(command)
        };
        match self {
            Work::Cp => timed(external("cp", &[&files.pth, &files.output])),
            Work::Sha1sum => timed(external("sha1sum", &[&files.pkl])),
            Work::PthToSafetensors => convert(&files.pth, "safetensors"),
            Work::SafetensorsToPth => convert(&files.safetensors, "pth"),
            Work::PklToSafetensors => convert(&files.pkl, "safetensors"),
            Work::Inspect => {
                let mut command = port();
                command.arg("inspect").arg(&files.pth);
                timed(command)
            }
            Work::Crc => {
                let started = Instant::now();
                // One pass of the checksum over every record: what a careful copy cannot avoid.
                converters::open(&files.pth).unwrap().verify().unwrap();
                (started.elapsed(), 0)
            }
        }
    }
}

fn port() -> Command {
    Command::new(env!("CARGO_BIN_EXE_port"))
}

fn external(program: &str, arguments: &[&PathBuf]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn timed(mut command: Command) -> (Duration, u64) {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    loop {
        peak = peak.max(anonymous_memory(&child));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{command:?}");
            return (started.elapsed(), peak);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `RssAnon` of a running process in KiB, where the system tells.
fn anonymous_memory(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

struct Report {
    /// Seconds by work and round.
    seconds: Vec<Vec<f64>>,
    /// KiB by work.
    peaks: Vec<u64>,
}

impl Report {
    fn measure(files: &Files, rounds: usize) -> Report {
        let mut report = Report { seconds: vec![Vec::new(); ALL.len()], peaks: vec![0; ALL.len()] };
        // The first round warms the page cache and is not counted.
        for round in 0..=rounds {
            for (index, work) in ALL.iter().enumerate() {
                let (elapsed, peak) = work.run(files);
                if round > 0 {
                    report.seconds[index].push(elapsed.as_secs_f64());
                    report.peaks[index] = report.peaks[index].max(peak);
                }
            }
        }
        report
    }

    fn of(&self, work: Work) -> &[f64] {
        &self.seconds[ALL.iter().position(|candidate| *candidate == work).unwrap()]
    }

    fn print(&self, mebibytes: usize, rounds: usize) {
        println!("{mebibytes} MiB, {TENSORS} f32 tensors, medians of {rounds} rounds in seconds (minimum)\n");
        for (work, name) in [(Work::Cp, "cp"), (Work::Sha1sum, "sha1sum"), (Work::Crc, "CRC-32 pass")] {
            println!("{name:22} {:6.3} ({:.3})", median(self.of(work)), minimum(self.of(work)));
        }
        let against = |base: &[Work]| -> Vec<f64> {
            (0..rounds).map(|round| base.iter().map(|work| self.of(*work)[round]).sum()).collect()
        };
        let rows = [
            (Work::PthToSafetensors, ".pth to .safetensors", against(&[Work::Cp]), "cp, goal 1.3"),
            (
                Work::SafetensorsToPth,
                ".safetensors to .pth",
                against(&[Work::Cp]),
                "cp, goal 1.3 and the CRC pass",
            ),
            (Work::PklToSafetensors, ".pkl to .safetensors", against(&[Work::Sha1sum]), "sha1sum, goal 1.2"),
            (Work::Inspect, "inspect .pth", against(&[Work::Cp]), "cp; goal 0.030 s"),
        ];
        for (work, name, base, against) in rows {
            let seconds = self.of(work);
            let ratios: Vec<f64> = seconds.iter().zip(&base).map(|(ours, base)| ours / base).collect();
            let peak = self.peaks[ALL.iter().position(|candidate| *candidate == work).unwrap()] / 1024;
            println!(
                "{name:22} {:6.3} ({:.3})  {:5.2} x {against}; anonymous memory {peak} MiB",
                median(seconds),
                minimum(seconds),
                median(&ratios)
            );
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn minimum(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}
