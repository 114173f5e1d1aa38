//! Runs the fuzz targets in `tests/fuzz` for a bounded number of inputs, from a fixed seed.
//!
//! They need a build of their own, with coverage instrumentation, which this makes below the target
//! directory; that takes a C++ compiler. `FUZZ_RUNS=10000000 cargo test --test fuzz records` runs
//! one target for longer, and `FUZZ_SANITIZER=address` all of them under AddressSanitizer, with the
//! nightly toolchain.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::time::Instant;
use std::{env, fs};

/// A target, and how many inputs it is given by default: a few seconds' worth.
const TARGETS: [(&str, u64); 5] = [
    ("decode", 200_000),
    ("header", 200_000),
    ("records", 200_000),
    ("messages", 50_000),
    ("shapes", 100_000),
];

/// What cargo-fuzz passes too. All of it works on stable.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() {
    let filter: Vec<String> = env::args().skip(1).collect();
    if filter.iter().any(|argument| argument == "--list") {
        return;
    }
    let wanted = |name: &str| {
        let mut names = filter.iter().filter(|argument| !argument.starts_with('-')).peekable();
        names.peek().is_none() || names.any(|filter| name.contains(filter.as_str()))
    };
    if let Err(error) = fuzz(TARGETS.iter().filter(|(name, _)| wanted(name))) {
        eprintln!("{error}");
        exit(1);
    }
}

fn fuzz<'t>(targets: impl Iterator<Item = &'t (&'t str, u64)>) -> Result<()> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let address = match env::var("FUZZ_SANITIZER") {
        Err(_) => false,
        Ok(sanitizer) if sanitizer == "address" => true,
        Ok(sanitizer) => return Err(format!("FUZZ_SANITIZER is {sanitizer}, not address").into()),
    };
    let binaries = build(&package, address)?;
    let mut report = Vec::new();
    for (name, runs) in targets {
        let runs = match env::var("FUZZ_RUNS") {
            Ok(runs) => runs.parse().map_err(|error| format!("FUZZ_RUNS is {runs}: {error}"))?,
            Err(_) => *runs,
        };
        report.push(run(&package, &binaries, name, runs)?);
    }
    println!("{}", report.join("\n"));
    Ok(())
}

/// Builds the targets; says where they are.
fn build(package: &Path, address: bool) -> Result<PathBuf> {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (target, mut cargo, mut rustc) = if address {
        let nightly = |tool| {
            let mut command = Command::new("rustup");
            command.args(["run", "nightly", tool]);
            command
        };
        (tmp.join("fuzz-address"), nightly("cargo"), nightly("rustc"))
    } else {
        let rustc = env::var_os("RUSTC").unwrap_or("rustc".into());
        (tmp.join("fuzz"), Command::new(env!("CARGO")), Command::new(rustc))
    };
    let version = String::from_utf8(rustc.arg("-vV").output()?.stdout)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or("rustc does not name its host")?;
    let sanitizer = if address { " -Zsanitizer=address" } else { "" };
    let built = cargo
        .args(["build", "--release", "--locked", "--bins"])
        // With a target named, build scripts and macros are not instrumented.
        .args(["--target", host])
        .arg("--manifest-path")
        .arg(package.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", format!("{FLAGS}{sanitizer}"))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()?;
    if !built.success() {
        return Err("the fuzz targets could not be built; libFuzzer needs a C++ compiler".into());
    }
    Ok(target.join(host).join("release"))
}

/// Runs one target from its seeds; says what it did.
fn run(package: &Path, binaries: &Path, name: &str, runs: u64) -> Result<String> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz-runs").join(name);
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    // libFuzzer adds what it finds to the corpus: it gets a copy.
    let (corpus, failures) = (place.join("corpus"), place.join("failures"));
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&failures)?;
    for seed in fs::read_dir(package.join("corpus").join(name))? {
        let seed = seed?;
        fs::copy(seed.path(), corpus.join(seed.file_name()))?;
    }
    let start = Instant::now();
    let output = Command::new(binaries.join(name))
        .args([format!("-runs={runs}"), format!("-artifact_prefix={}/", failures.display())])
        // An input takes some microseconds: one that takes ten seconds does not end.
        .args(["-seed=1", "-max_len=512", "-timeout=10", "-rss_limit_mb=1024"])
        .arg(&corpus)
        .current_dir(&place)
        .output()?;
    let seconds = start.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        eprintln!("{said}");
        for failure in fs::read_dir(&failures)? {
            let bytes = fs::read(failure?.path())?;
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("the input that fails, {} bytes: {hex}", bytes.len());
        }
        // An input that ends the process leaves its channels.
        sysv_channel::sweep()?;
        return Err(format!("{name}: {}", output.status).into());
    }
    // The last line of figures: "#200000 DONE   cov: 257 ft: 900 corp: ...".
    let figures = said.lines().rfind(|line| line.contains(" cov: ")).unwrap_or_default();
    let mut words = figures.split_whitespace();
    let done = words.next().and_then(|done| done.strip_prefix('#')?.parse::<u64>().ok());
    let covered =
        words.find(|word| *word == "cov:").and_then(|_| words.next()?.parse::<u64>().ok());
    let (Some(done), Some(covered)) = (done, covered) else {
        return Err(format!("{name} is not instrumented:\n{said}").into());
    };
    if done < runs || covered < 50 {
        return Err(format!("{name} ran {done} of {runs} inputs, {covered} edges\n{said}").into());
    }
    let rate = done as f64 / seconds;
    Ok(format!(
        "fuzz {name}: {done} inputs, none failed; {covered} edges covered; {seconds:.1} s, {rate:.0} inputs/s"
    ))
}
