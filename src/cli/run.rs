//! `doorward run`: the daemon.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::ValueEnum;

use crate::config::SourceKind;
use crate::daemon;
use crate::setup::{ModelArgs, Setup};

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

pub(super) fn run(args: Args, config: Option<&Path>, models: &ModelArgs) -> Result<ExitCode> {
    let stdout = args.sink == Sink::Stdout;
    let (config, models) = (config.map(Path::to_owned), models.clone());
    let load = move || {
        let mut setup = Setup::load(config.as_deref(), &models)?;
        if let Some(path) = &args.replay {
            let camera = &mut setup.config.camera;
            camera.source = SourceKind::Replay;
            camera.replay.path = Some(path.clone());
            camera.replay.fast |= args.fast;
            camera.replay.repeat |= args.repeat;
            setup.config.check().map_err(anyhow::Error::msg)?;
        }
        Ok(setup)
    };
    daemon::run(Arc::new(load), stdout)?;
    Ok(ExitCode::SUCCESS)
}
