//! The command line: one file a subcommand, each with its `Args` and `run`.
//!
//! Exit status: 0 for yes and done, 1 for an honest no (no match, something to mend), 2 for an
//! error.

mod bench;
mod check;
mod enroll;
mod evaluate;
mod gallery;
mod identify;
mod photos;
mod run;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use crate::setup::{ModelArgs, Setup};
use crate::store::Store;

/// Recognises people at a door and publishes what it saw to MQTT.
#[derive(Debug, Parser)]
#[command(version, about)]
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
    /// List, remove, rename, export or import the people that are known.
    Gallery(gallery::Args),
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
    if let Command::Check(args) = command {
        return check::run(&args, config.as_deref(), &models, json);
    }
    let context = Context {
        setup: Setup::load(config.as_deref(), &models)?,
        json,
    };
    match command {
        Command::Run(args) => run::run(&args, context),
        Command::Check(_) => unreachable!("answered above"),
        Command::Enroll(args) => enroll::run(&args, &context),
        Command::Gallery(args) => gallery::run(&args, &context),
        Command::Verify(args) => verify::run(&args, &context),
        Command::Identify(args) => identify::run(&args, &context),
        Command::Evaluate(args) => evaluate::run(&args, &context),
        Command::Bench(args) => bench::run(&args, &context),
    }
}

impl Context {
    fn store(&self) -> Result<Store> {
        Ok(Store::open(&self.setup.config.store, Timestamp::now())?)
    }

    /// Prints the answer: `json` for programs, `words` for people.
    fn answer(&self, json: &serde_json::Value, words: impl FnOnce() -> String) {
        if self.json {
            println!("{json}");
        } else {
            println!("{}", words());
        }
    }
}

/// A bar on standard error, for work of a known length. Nothing is shown when standard error is no
/// terminal.
fn progress(length: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(what.to_owned());
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed} left {eta}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
