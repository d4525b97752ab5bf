//! `doorward identify`: whom of the gallery a photo shows.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use super::{Context, photos::face_of, verdict};
use crate::gallery::{Candidate, Template};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 for somebody who is known, 1 for nobody who is, 2 for an error."
)]
pub(super) struct Args {
    /// A photo; `-` is standard input.
    photo: PathBuf,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let (mut extractor, id) = context.setup.extractor()?;
    let mut gallery = context.setup.gallery(extractor.embedder(), id.clone())?;
    context.store()?.load(&mut gallery)?;
    let face = face_of(&args.photo, &mut extractor)?;
    let found = gallery.search(&Template::new(&face.embedding, id))?;
    let accepted = found.accepted();
    let of = |c: &Candidate| json!({ "subject": &*c.subject, "similarity": c.similarity });
    let answer = json!({
        "subject": accepted.map(|c| &*c.subject),
        "similarity": found.best.as_ref().map(|c| c.similarity),
        "threshold": found.threshold,
        "runner_up": found.runner_up.as_ref().map(of),
    });
    context.answer(&answer, || {
        let near = |c: &Option<Candidate>| {
            c.as_ref().map_or("nobody".to_owned(), |c| {
                format!("{} {:.3}", c.subject, c.similarity)
            })
        };
        let who = accepted.map_or("nobody who is known", |c| &*c.subject);
        format!(
            "{who}: most similar {}, then {}, threshold {:.3}",
            near(&found.best),
            near(&found.runner_up),
            found.threshold
        )
    })?;
    Ok(verdict(accepted.is_some()))
}
