//! The `doorward` program: parses, logs, runs, prints the chain of an error, sets the exit status.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use clap::Parser;
use doorward::cli::{self, Cli};
use doorward::daemon::stderr_is_journal;
use log::{Level, LevelFilter};

/// Tells glibc's allocator to give freed memory back to the system: planning a network frees
/// several times of what it keeps. Blocks of a frame's size stay, so that no frame has to ask for
/// them again.
const ALLOCATOR: [(&str, &str); 2] = [
    ("MALLOC_TRIM_THRESHOLD_", "4194304"),
    ("MALLOC_MMAP_THRESHOLD_", "33554432"),
];

fn main() -> ExitCode {
    let cli = Cli::parse();
    settle_allocator();
    start_log();
    match cli::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("doorward: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Logs to standard error as `RUST_LOG` says; in the form of the journal, which knows the time and
/// takes the level from the front, where standard error is the journal.
fn start_log() {
    let mut log =
        env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"));
    for library in ["tract_core", "tract_hir", "tract_linalg", "tract_onnx"] {
        log.filter_module(library, LevelFilter::Error);
    }
    if stderr_is_journal() {
        log.format(|out, record| {
            let priority = match record.level() {
                Level::Error => 3,
                Level::Warn => 4,
                Level::Info => 6,
                Level::Debug | Level::Trace => 7,
            };
            // A line that follows would lose the level.
            let text = record.args().to_string().replace('\n', " ");
            writeln!(out, "<{priority}>{text}")
        });
    }
    log.init();
}

/// Starts this program anew in the same process with [`ALLOCATOR`]'s settings, which glibc reads
/// at the start only. Without effect where they are set, or where it cannot be done.
fn settle_allocator() {
    let missing = |(name, _): &(&str, &str)| std::env::var_os(name).is_none();
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    if ALLOCATOR.iter().any(missing) {
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_else(|| program.clone().into());
        let error = Command::new(&program)
            .arg0(name)
            .args(arguments)
            .envs(ALLOCATOR.into_iter().filter(missing))
            .exec();
        eprintln!("doorward: more memory will be used than needed: {error}");
    }
}
