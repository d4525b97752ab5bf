//! The detection error trade-off as a picture.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::report::{Scored, trade_off};

const SIZE: (u32, u32) = (720, 560);
/// Both axes begin at this rate.
const LOWEST: f64 = 1e-4;

/// Writes an SVG with the false non-match rate over the false match rate, both logarithmic.
pub(super) fn write(scored: &[Scored], path: &Path) -> Result<()> {
    draw(scored, path).map_err(|e| anyhow!("cannot write the plot {}: {e}", path.display()))
}

fn draw(scored: &[Scored], path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("Detection error trade-off", ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((LOWEST..1.0).log_scale(), (LOWEST..1.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("false match rate")
        .y_desc("false non-match rate")
        .x_label_formatter(&|rate| format!("{rate:e}"))
        .y_label_formatter(&|rate| format!("{rate:e}"))
        .draw()?;
    let points = trade_off(scored)
        .into_iter()
        .map(|(x, y)| (x.max(LOWEST), y.max(LOWEST)));
    chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2)))?;
    root.present()?;
    Ok(())
}
