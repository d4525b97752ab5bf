//! `doorward bench --network`: how long any one network takes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{Context, time};
use crate::image::RgbImage;
use crate::inference::{Channels, InputSpec, Network};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Time this ONNX network instead, on RGB pixels scaled to -1..1.
    #[arg(long, value_name = "FILE")]
    pub(super) network: Option<PathBuf>,
    /// Width and height of its input.
    #[arg(
        long,
        value_name = "PIXELS",
        default_value_t = 112,
        requires = "network"
    )]
    side: usize,
    /// Raw bytes, three a pixel, that it is given instead of a ramp.
    #[arg(long, value_name = "FILE", requires = "network")]
    pixels: Option<PathBuf>,
    /// Leave it to tract as it is, for comparison.
    #[arg(long, requires = "network")]
    stock: bool,
}

pub(super) fn run(file: &Path, args: &Args, runs: u32, context: &Context) -> Result<ExitCode> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let side = args.side;
    let input = InputSpec {
        width: side,
        height: side,
        channels: Channels::Rgb,
        mean: [127.5; 3],
        scale: [1.0 / 127.5; 3],
    };
    let mut image = RgbImage::new(side, side);
    match &args.pixels {
        None => {
            let ramp = (0u8..=255).cycle();
            image
                .pixels_mut()
                .iter_mut()
                .zip(ramp)
                .for_each(|(p, v)| *p = v);
        }
        Some(path) => {
            let raw =
                std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let (found, needed) = (raw.len(), image.pixels().len());
            ensure!(
                found == needed,
                "{} holds {found} bytes, {side}x{side} pixels are {needed}",
                path.display()
            );
            image.pixels_mut().copy_from_slice(&raw);
        }
    }
    let name = file.display().to_string();
    let mut network = if args.stock {
        Network::stock(&name, &bytes, &input, (side, side))?
    } else {
        Network::new(&name, &bytes, &input, (side, side))?
    };
    let output = network.run(&image)?.first()?.to_vec();
    let times = time(runs, || Ok(network.run(&image).map(drop)?))?;
    let arithmetic = network.arithmetic();
    context.answer(
        &json!({
            "ms": times.median,
            "fastest_ms": times.fastest,
            "output": output,
            "fused": arithmetic.fused,
            "float": arithmetic.float,
        }),
        || {
            format!(
                "{:.3} ms, at best {:.3} ms; {arithmetic}",
                times.median, times.fastest
            )
        },
    )?;
    Ok(ExitCode::SUCCESS)
}
