//! Events of the libraries as lines of a log: of this process, and of a worker,
//! which sends them to its parent.

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Which events are logged, by how often `-v` is given; the last also for more.
const LEVELS: [LevelFilter; 4] = [
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

/// Writes events to `writer` from now on, in lines: warnings alone where `verbose`
/// is 0, and one level more for each that it is higher. A worker that this process
/// starts logs as much. The first call counts.
pub fn start_log<W>(verbose: u8, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = LEVELS.get(usize::from(verbose));
    let log = tracing_subscriber::fmt()
        .with_max_level(level.copied().unwrap_or(LevelFilter::TRACE))
        .with_writer(writer)
        .with_ansi(false)
        .without_time()
        .with_target(false);
    // Where there is a log already, it goes on.
    let _first_counts = log.try_init();
}

/// Returns how verbose the log of this process is.
pub(crate) fn verbosity() -> u8 {
    let current = LevelFilter::current();
    let logged = (0..).zip(LEVELS).take_while(|(_, level)| *level <= current);
    // Without a log, a worker says no more than it would of its own accord.
    logged.last().map_or(0, |(verbose, _)| verbose)
}
