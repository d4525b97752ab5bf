//! The `doorward` program: parses, logs, runs, prints the chain of an error, sets the exit status.

use std::process::ExitCode;

use clap::Parser;
use doorward::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .filter_module("tract_onnx", log::LevelFilter::Error)
        .init();
    match cli::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("doorward: {error:#}");
            ExitCode::from(2)
        }
    }
}
