//! `doorward gallery`: the people that are known.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Context;
use crate::gallery::{ModelId, Template};
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
    /// Write everybody's templates to a file that only you can read.
    Export {
        /// The file; it must not exist yet.
        file: PathBuf,
    },
    /// Add the people of an exported file.
    Import {
        /// The file.
        file: PathBuf,
    },
}

/// An exported gallery.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Export {
    format: String,
    subjects: Vec<ExportedSubject>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportedSubject {
    name: String,
    templates: Vec<ExportedTemplate>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportedTemplate {
    model: String,
    scale: f32,
    values: Vec<i8>,
}

const FORMAT: &str = "doorward/gallery/v1";
/// A gallery of 100,000 templates is far below this.
const MAX_BYTES: u64 = 512 << 20;

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let mut store = context.store()?;
    match &args.action {
        Action::List => list(&store, context)?,
        Action::Remove { subject } => {
            store.remove(&SubjectName::new(subject)?)?;
            context.answer(&json!({ "removed": subject }), || {
                format!("{subject} is forgotten")
            });
        }
        Action::Rename { from, to } => {
            store.rename(&SubjectName::new(from)?, &SubjectName::new(to)?)?;
            context.answer(&json!({ "from": from, "to": to }), || {
                format!("{from} is now {to}")
            });
        }
        Action::Export { file } => {
            let subjects = export(&store, file)?;
            context.answer(&json!({ "subjects": subjects }), || {
                format!("{subjects} people written to {}", file.display())
            });
        }
        Action::Import { file } => {
            let subjects = import(&mut store, file)?;
            context.answer(&json!({ "subjects": subjects }), || {
                format!("{subjects} people read from {}", file.display())
            });
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
            let note = if usable == all {
                String::new()
            } else {
                format!("; {} of another model, enrol again", all - usable)
            };
            format!("{name}: {usable} templates since {created}{note}")
        };
        if subjects.is_empty() {
            "nobody is enrolled; see doorward enroll --help".to_owned()
        } else {
            subjects.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    });
    Ok(())
}

fn export(store: &Store, file: &Path) -> Result<usize> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut subjects: Vec<ExportedSubject> = Vec::new();
    for summary in store.list()? {
        subjects.push(ExportedSubject {
            name: summary.name,
            templates: Vec::new(),
        });
    }
    let models: std::collections::BTreeSet<ModelId> = store
        .list()?
        .into_iter()
        .flat_map(|s| s.templates)
        .map(|(id, _)| id)
        .collect();
    for model in models {
        for (
            name,
            Template {
                model_id,
                scale,
                values,
            },
        ) in store.templates(&model)?
        {
            if let Some(subject) = subjects.iter_mut().find(|s| s.name == name) {
                subject.templates.push(ExportedTemplate {
                    model: model_id.0,
                    scale,
                    values,
                });
            }
        }
    }
    let count = subjects.len();
    let text = serde_json::to_vec(&Export {
        format: FORMAT.to_owned(),
        subjects,
    })?;
    let open = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    let mut out = open.with_context(|| format!("cannot make {}", file.display()))?;
    out.write_all(&text)
        .and_then(|()| out.sync_all())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(count)
}

fn import(store: &mut Store, file: &Path) -> Result<usize> {
    let read = || format!("cannot read {}", file.display());
    let length = std::fs::metadata(file).with_context(read)?.len();
    if length > MAX_BYTES {
        bail!(
            "{} has {length} bytes, more than any gallery",
            file.display()
        );
    }
    let text = std::fs::read(file).with_context(read)?;
    let export: Export = serde_json::from_slice(&text)
        .with_context(|| format!("{} is no exported gallery", file.display()))?;
    if export.format != FORMAT {
        bail!(
            "{} is of format {}, expected {FORMAT}",
            file.display(),
            export.format
        );
    }
    let mut people = Vec::new();
    for subject in export.subjects {
        let name = SubjectName::new(&subject.name)?;
        let mut templates = Vec::new();
        for ExportedTemplate {
            model,
            scale,
            values,
        } in subject.templates
        {
            let sound = scale.is_finite()
                && scale > 0.0
                && (1..=4096).contains(&values.len())
                && !values.contains(&i8::MIN)
                && model.len() == 64
                && model.bytes().all(|b| b.is_ascii_hexdigit());
            if !sound {
                bail!(
                    "{}: a template of {name} is damaged; nothing was imported",
                    file.display()
                );
            }
            templates.push(Template {
                model_id: ModelId(model),
                scale,
                values,
            });
        }
        people.push((name, templates));
    }
    let known: Vec<String> = store.list()?.into_iter().map(|s| s.name).collect();
    if let Some((name, _)) = people
        .iter()
        .find(|(n, _)| known.iter().any(|k| k == n.as_str()))
    {
        bail!(
            "{name} of {} is enrolled already; rename or remove one of them, nothing was imported",
            file.display()
        );
    }
    let now = Timestamp::now();
    for (name, templates) in &people {
        store.enrol(name, templates, "import", now)?;
    }
    Ok(people.len())
}
