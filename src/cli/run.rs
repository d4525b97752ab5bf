//! `doorward run`: the daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;

use super::Context;
use crate::config::SourceKind;
use crate::daemon;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Replay a photo, a folder of photos or an MJPEG clip instead of a camera.
    #[arg(long, value_name = "PATH")]
    replay: Option<PathBuf>,
    /// Replay as fast as possible.
    #[arg(long, requires = "replay")]
    fast: bool,
    /// Begin the replay again at its end.
    #[arg(long, requires = "replay")]
    repeat: bool,
    /// Where events go.
    #[arg(long, value_enum, default_value_t = Sink::Mqtt)]
    sink: Sink,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sink {
    /// To the broker.
    Mqtt,
    /// As JSON lines to standard output.
    Stdout,
}

pub(super) fn run(args: &Args, mut context: Context) -> Result<ExitCode> {
    if let Some(path) = &args.replay {
        let camera = &mut context.setup.config.camera;
        camera.source = SourceKind::Replay;
        camera.replay.path = Some(path.clone());
        camera.replay.fast |= args.fast;
        camera.replay.repeat |= args.repeat;
    }
    daemon::run(context.setup, args.sink == Sink::Stdout)?;
    Ok(ExitCode::SUCCESS)
}
