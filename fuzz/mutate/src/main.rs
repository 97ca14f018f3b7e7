//! Mutated objects, skeletons and images, each run as the product would run it,
//! and held to a time and to its memory.
//!
//! `mutate FIRST STEP END` runs the inputs FIRST, FIRST + STEP, ... below END and
//! prints a line for each when it is done: its number, its kind, how it ended,
//! microseconds and bytes. So whoever started it knows which input was at work
//! when it dies. `mutate --write NUMBER FILE` writes an input to a file.
//!
//! A number always gives the same input, as long as the seeds stay.

mod fields;
mod mutation;
mod seeds;
mod subject;

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use anyhow::{Context, Result, ensure};
use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};

use crate::mutation::{Random, mutate};
use crate::seeds::{Kind, Seeds};
use crate::subject::Ending;

/// How long an input may keep a processor busy.
const TIME: Duration = Duration::from_secs(1);
/// When an input that is still at work is given up, whatever the processor did.
const HANG: Duration = Duration::from_secs(10);

/// Counts what Rust code allocates. (libzstd, which is in C, asks the C library.)
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let seeds = Seeds::read()?;
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--write", number, file] => {
            let (_, bytes, _) = input(&seeds, number.parse()?);
            fs::write(file, bytes).with_context(|| format!("cannot write {file}"))
        }
        [first, step, end] => run(&seeds, first.parse()?, step.parse()?, end.parse()?),
        _ => anyhow::bail!("mutate FIRST STEP END, or mutate --write NUMBER FILE"),
    }
}

fn run(seeds: &Seeds, first: u64, step: usize, end: u64) -> Result<()> {
    // Seeds that are broken would only test the first checks.
    for seed in seeds.of(Kind::Image) {
        subject::check_seed(&seed.bytes).with_context(|| format!("seed {}", seed.name))?;
    }
    thread::spawn(watch);
    for number in (first..end).step_by(step) {
        *AT_WORK.lock().expect("nobody panics with it") = Some((number, Instant::now()));
        let (kind, bytes, name) = input(seeds, number);
        let Cost {
            ending,
            time,
            memory,
        } = measure(kind, &bytes, name, number);
        ensure!(time <= TIME, "input {number}, {kind} {name}: took {time:?}");
        let limit = subject::memory_limit(kind, bytes.len());
        ensure!(
            memory <= limit,
            "input {number}, {kind} {name}: took {memory} bytes of memory, may take {limit}"
        );
        println!("{number} {kind} {ending} {} {memory}", time.as_micros());
    }
    Ok(())
}

/// Makes input `number`, and says which seed it comes from.
fn input(seeds: &Seeds, number: u64) -> (Kind, Vec<u8>, &str) {
    let mut random = Random::of(number);
    let kind = Kind::ALL[number as usize % Kind::ALL.len()];
    let all = seeds.of(kind);
    let mut seed = random.pick(all);
    if seed.name.starts_with("refused-") {
        // There are many of these, and they end early.
        seed = random.pick(all);
    }
    let other = random.pick(all);
    (kind, mutate(seed, other, &mut random), &seed.name)
}

/// The resources that one input used.
struct Cost {
    ending: Ending,
    time: Duration,
    memory: u64,
}

fn measure(kind: Kind, bytes: &[u8], name: &str, number: u64) -> Cost {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let start = busy();
    let ending = subject::run(kind, bytes, name, Random::of(!number));
    let time = busy().saturating_sub(start);
    let memory = ALLOCATOR.peak_usage().saturating_sub(before) as u64;
    Cost {
        ending,
        time,
        memory,
    }
}

/// How long this thread has kept a processor busy. Other work of the machine
/// does not count, unlike in a clock's time.
fn busy() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// The input at work, and since when.
static AT_WORK: Mutex<Option<(u64, Instant)>> = Mutex::new(None);

/// Ends the process when an input does not come to an end.
fn watch() {
    loop {
        thread::sleep(HANG / 10);
        let at_work = *AT_WORK.lock().expect("nobody panics with it");
        if let Some((number, since)) = at_work
            && since.elapsed() > HANG
        {
            eprintln!("input {number}: still at work after {HANG:?}");
            process::exit(1);
        }
    }
}

/// Returns the root of the checkout.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
