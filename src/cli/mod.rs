//! The command line: one file a subcommand, each with its `Args` and `run`.
//!
//! Exit status: 0 for yes and done, 1 for an honest no (no match, something to mend), 2 for an
//! error.

mod audit;
mod bench;
mod check;
mod command;
mod enroll;
mod evaluate;
mod gallery;
mod identify;
mod look;
mod photos;
mod run;
mod verify;

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _, stdout};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt as _, lchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use crate::setup::{ModelArgs, Setup};
use crate::store::Store;

/// Recognises people at a door and publishes what it saw to MQTT.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Exit status: 0 for yes and done, 1 for an honest no, 2 for an error."
)]
pub struct Cli {
    /// Configuration file [default: /etc/doorward/doorward.toml, if there].
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    models: ModelArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch the camera and publish events.
    Run(run::Args),
    /// Look at configuration, models, camera, gallery and broker, and say what is wrong.
    Check(check::Args),
    /// Make a person known, from photos or from the camera.
    Enroll(enroll::Args),
    /// List, remove, rename, export, import or seal anew the people that are known.
    Gallery(gallery::Args),
    /// Show the audit trail, or tell whether it is whole.
    Audit(audit::Args),
    /// Tell a running device what to do, by way of the broker.
    #[command(name = "command")]
    Tell(command::Args),
    /// Tell whether two photos show the same person (1:1).
    Verify(verify::Args),
    /// Tell whom of the gallery a photo shows (1:N).
    Identify(identify::Args),
    /// Measure the accuracy on pairs of photos.
    Evaluate(evaluate::Args),
    /// Measure the speed of each stage on this machine.
    Bench(bench::Args),
}

/// What every subcommand starts from.
struct Context {
    setup: Setup,
    json: bool,
}

/// Runs the command that was given.
///
/// # Errors
/// What went wrong, as a chain from the command to the cause.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let Cli {
        config,
        json,
        models,
        command,
    } = cli;
    let context = || -> Result<Context> {
        let setup = Setup::load(config.as_deref(), &models)?;
        Ok(Context { setup, json })
    };
    match command {
        Command::Run(_) if json => {
            bail!("run has no --json; --sink stdout writes events as lines of JSON")
        }
        Command::Run(args) => run::run(args, config.as_deref(), &models),
        Command::Check(args) => check::run(&args, config.as_deref(), &models, json),
        Command::Enroll(args) => enroll::run(&args, &context()?),
        Command::Gallery(args) => gallery::run(&args, &context()?),
        Command::Audit(args) => audit::run(&args, &context()?),
        Command::Tell(args) => command::run(&args, &context()?),
        Command::Verify(args) => verify::run(&args, &context()?),
        Command::Identify(args) => identify::run(&args, &context()?),
        Command::Evaluate(args) => evaluate::run(&args, &context()?),
        Command::Bench(args) => bench::run(&args, &context()?),
    }
}

impl Context {
    fn store(&self) -> Result<Store> {
        open_store(&self.setup)
    }

    /// Prints the answer: `json` for programs, `words` for people.
    fn answer(&self, json: &serde_json::Value, words: impl FnOnce() -> String) -> Result<()> {
        if self.json { say(json) } else { say(words()) }
    }
}

/// The exit status of a yes or of an honest no.
fn verdict(yes: bool) -> ExitCode {
    ExitCode::from(u8::from(!yes))
}

/// Prints a line. Who has stopped reading wants no more, and no complaint.
fn say(line: impl Display) -> Result<()> {
    match writeln!(stdout().lock(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Writes a picture to a new file that only its owner can read: it may show people.
fn write_private(file: &Path, bytes: &[u8]) -> Result<()> {
    new_private(file)
        .and_then(|mut out| out.write_all(bytes))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Opens the database, or makes it for the service's user.
fn open_store(setup: &Setup) -> Result<Store> {
    let section = &setup.config.store;
    let store = Store::open(section, Timestamp::now())?;
    hand_over(&section.path)?;
    Ok(store)
}

/// Gives a database that root has just made to whom its folder belongs: the service's user could
/// not open it.
fn hand_over(database: &Path) -> Result<()> {
    let (Some(folder), Some(name)) = (database.parent(), database.file_name()) else {
        return Ok(());
    };
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let owner = folder.metadata()?;
    // The database itself, and what SQLite and the store keep beside it.
    for suffix in ["", "-wal", "-shm", "-journal", ".key"] {
        let mut file = name.to_owned();
        file.push(suffix);
        let file = folder.join(file);
        // Not all of them are there.
        let of_root = file.symlink_metadata().is_ok_and(|file| file.uid() == 0);
        if of_root && owner.uid() != 0 {
            lchown(file, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}

/// A new file that only its owner can read.
fn new_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// A bar on standard error, for work of a known length. Nothing is shown when standard error is no
/// terminal.
fn progress(length: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(what.to_owned());
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed} left {eta}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    // The tick is a thread, which nobody needs who sees no bar.
    if !bar.is_hidden() {
        bar.enable_steady_tick(Duration::from_millis(500));
    }
    bar
}
