//! `doorward verify`: two photos, one person or two.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use super::{Context, photos::face_of, verdict};
use crate::gallery::Template;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 for one person, 1 for two, 2 for an error.")]
pub(super) struct Args {
    /// A photo; `-` is standard input.
    first: PathBuf,
    /// Another photo.
    second: PathBuf,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let (mut extractor, id) = context.setup.extractor()?;
    let gallery = context.setup.gallery(extractor.embedder(), id.clone())?;
    let mut template = |path: &PathBuf| -> Result<Template> {
        Ok(Template::new(
            &face_of(path, &mut extractor)?.embedding,
            id.clone(),
        ))
    };
    let (first, second) = (template(&args.first)?, template(&args.second)?);
    let (similarity, threshold) = gallery.compare(&first, &second)?;
    let same = similarity >= threshold;
    context.answer(
        &json!({ "similarity": similarity, "threshold": threshold, "match": same }),
        || {
            let who = if same {
                "the same person"
            } else {
                "not the same person"
            };
            format!("{who}: similarity {similarity:.3}, threshold {threshold:.3}")
        },
    )?;
    Ok(verdict(same))
}
