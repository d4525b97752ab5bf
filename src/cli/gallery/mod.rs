//! `doorward gallery`: the people that are known.

mod age;
mod passphrase;
mod transfer;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::Context;
use crate::gallery::ModelId;
use crate::store::{Store, SubjectName};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show who is enrolled.
    List,
    /// Forget a person.
    Remove {
        /// The person's name.
        subject: String,
    },
    /// Give a person another name.
    Rename {
        /// The name now.
        from: String,
        /// The new name.
        to: String,
    },
    /// Write everybody's templates to a file that a passphrase opens (format of age).
    Export {
        /// The file; it must not exist yet.
        file: PathBuf,
        /// A file whose first line is the passphrase, instead of asking for it.
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Add the people of an exported file.
    Import {
        /// The file.
        file: PathBuf,
        /// A file whose first line is the passphrase, instead of asking for it.
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Make a new key, and turn and seal everybody's templates by it.
    Rekey,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let mut store = context.store()?;
    match &args.action {
        Action::List => list(&store, context)?,
        Action::Remove { subject } => {
            store.remove(&SubjectName::new(subject)?)?;
            context.answer(&json!({ "removed": subject }), || {
                format!("{subject} is forgotten")
            })?;
        }
        Action::Rename { from, to } => {
            store.rename(&SubjectName::new(from)?, &SubjectName::for_new(to)?)?;
            context.answer(&json!({ "from": from, "to": to }), || {
                format!("{from} is now {to}")
            })?;
        }
        Action::Export {
            file,
            passphrase_file,
        } => {
            let passphrase = passphrase::new(passphrase_file.as_deref())?;
            let subjects = transfer::export(&store, file, &passphrase)?;
            context.answer(&json!({ "subjects": subjects }), || {
                format!("{subjects} people written to {}", file.display())
            })?;
        }
        Action::Import {
            file,
            passphrase_file,
        } => {
            let passphrase = passphrase::known(passphrase_file.as_deref())?;
            let subjects = transfer::import(&mut store, file, &passphrase)?;
            context.answer(&json!({ "subjects": subjects }), || {
                format!("{subjects} people read from {}", file.display())
            })?;
        }
        Action::Rekey => {
            let templates = store.rekey()?;
            context.answer(&json!({ "templates": templates }), || {
                format!(
                    "{templates} templates are sealed by a new key in {}; renew your copy of it",
                    store.key_file().display()
                )
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(store: &Store, context: &Context) -> Result<()> {
    let model = context.setup.models().get(
        crate::inference::Role::Embedder,
        context.setup.config.models.embedder.as_deref(),
    )?;
    let usable = |id: &ModelId| id.0.eq_ignore_ascii_case(&model.spec.sha256);
    let subjects: Vec<_> = store
        .list()?
        .into_iter()
        .map(|s| {
            let all: u32 = s.templates.iter().map(|(_, n)| n).sum();
            let present = s
                .templates
                .iter()
                .filter(|(id, _)| usable(id))
                .map(|(_, n)| n);
            (s.name, present.sum::<u32>(), all, s.created)
        })
        .collect();
    let rows: Vec<_> = subjects
        .iter()
        .map(|(name, usable, all, created)| {
            json!({ "subject": name, "usable_templates": usable, "templates": all, "created": created })
        })
        .collect();
    context.answer(&json!(rows), || {
        let line = |(name, usable, all, created): &(String, u32, u32, String)| {
            let others = all - usable;
            let note = match (usable, others) {
                (_, 0) => String::new(),
                (0, _) => format!("; {others} of another model: enrol again"),
                _ => format!("; {others} of another model, not needed"),
            };
            format!("{name}: {usable} templates since {created}{note}")
        };
        if subjects.is_empty() {
            "nobody is enrolled; see doorward enroll --help".to_owned()
        } else {
            subjects.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    })?;
    Ok(())
}
