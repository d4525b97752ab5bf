//! A gallery as an encrypted file, on its way to another device.
//!
//! Inside it are plain templates in JSON: what one device has turned another cannot compare.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::age;
use crate::cli::new_private;
use crate::gallery::{ModelId, Template};
use crate::store::{Store, SubjectName};

const FORMAT: &str = "doorward/gallery/v1";
/// A gallery of 100,000 templates is far below this.
const MAX_BYTES: u64 = 512 << 20;
/// Norms of sound templates: 1, as the embedder makes them, but for the rounding to int8.
const NORMS: std::ops::RangeInclusive<f32> = 0.9..=1.1;

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

/// Writes everybody's templates to a new file. Returns the number of people.
pub(super) fn export(store: &Store, file: &Path, passphrase: &str) -> Result<usize> {
    let mut templates: BTreeMap<String, Vec<ExportedTemplate>> = BTreeMap::new();
    let models = store.list()?.into_iter().flat_map(|s| s.templates);
    let models: std::collections::BTreeSet<ModelId> = models.map(|(id, _)| id).collect();
    for model in models {
        for (name, template) in store.templates(&model)? {
            templates.entry(name).or_default().push(ExportedTemplate {
                model: template.model_id.0,
                scale: template.scale,
                values: template.values,
            });
        }
    }
    let subjects: Vec<_> = templates
        .into_iter()
        .map(|(name, templates)| ExportedSubject { name, templates })
        .collect();
    let count = subjects.len();
    let format = FORMAT.to_owned();
    let text = Zeroizing::new(serde_json::to_vec(&Export { format, subjects })?);
    // Made first: the passphrase costs time.
    let mut out = new_private(file).with_context(|| format!("cannot make {}", file.display()))?;
    let written = age::encrypt(&text, passphrase).and_then(|sealed| {
        out.write_all(&sealed)?;
        Ok(out.sync_all()?)
    });
    if written.is_err() {
        // Half a file is worth nothing.
        let _ = std::fs::remove_file(file);
    }
    written.with_context(|| format!("cannot write {}", file.display()))?;
    Ok(count)
}

/// Enrols the people of an exported file, all of them or none. Returns their number.
pub(super) fn import(store: &mut Store, file: &Path, passphrase: &str) -> Result<usize> {
    let people =
        read(file, passphrase).with_context(|| format!("cannot import {}", file.display()))?;
    let known: Vec<String> = store.list()?.into_iter().map(|s| s.name).collect();
    let taken = |name: &SubjectName| known.iter().any(|k| k == name.as_str());
    if let Some((name, _)) = people.iter().find(|(name, _)| taken(name)) {
        bail!(
            "{name} of {} is enrolled already; rename or remove one of them, nothing was imported",
            file.display()
        );
    }
    store.enrol_all(&people, "import", Timestamp::now())?;
    Ok(people.len())
}

fn read(file: &Path, passphrase: &str) -> Result<Vec<(SubjectName, Vec<Template>)>> {
    let mut sealed = Vec::new();
    std::fs::File::open(file)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut sealed)?;
    if sealed.len() as u64 > MAX_BYTES {
        bail!(
            "it has more than {} MiB, more than any gallery",
            MAX_BYTES >> 20
        );
    }
    people(&age::decrypt(&sealed, passphrase)?)
}

/// The people of an opened file, each sound.
fn people(text: &[u8]) -> Result<Vec<(SubjectName, Vec<Template>)>> {
    let export: Export = serde_json::from_slice(text).context("it holds no gallery")?;
    if export.format != FORMAT {
        bail!("it is of format {}, expected {FORMAT}", export.format);
    }
    let person = |subject: ExportedSubject| {
        let name = SubjectName::for_new(&subject.name)?;
        let templates = subject.templates.into_iter().map(template);
        let templates = templates
            .collect::<Option<Vec<_>>>()
            .with_context(|| format!("a template of {name} is damaged; nothing was imported"))?;
        Ok((name, templates))
    };
    export.subjects.into_iter().map(person).collect()
}

fn template(exported: ExportedTemplate) -> Option<Template> {
    let ExportedTemplate {
        model,
        scale,
        values,
    } = exported;
    let squares: f32 = values.iter().map(|&v| f32::from(v).powi(2)).sum();
    let sound = scale > 0.0
        && (1..=4096).contains(&values.len())
        && !values.contains(&i8::MIN)
        // Not where a scale is so small or large that the norm is lost.
        && NORMS.contains(&(scale * squares.sqrt()))
        && model.len() == 64
        && model.bytes().all(|b| b.is_ascii_hexdigit());
    sound.then_some(Template {
        model_id: ModelId(model),
        scale,
        values,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a file is made of.
    const JSON: &[u8] = b"0123456789-.eE\"[]{},:\\ \x00\xff";

    fn exported(scale: f32, values: &[i8]) -> ExportedTemplate {
        ExportedTemplate {
            model: "0123456789abcdef".repeat(4),
            scale,
            values: values.to_vec(),
        }
    }

    fn whole() -> Vec<u8> {
        let subject = |name: &str, scale, values: &[i8]| ExportedSubject {
            name: name.to_owned(),
            templates: vec![exported(scale, values), exported(scale, values)],
        };
        let format = FORMAT.to_owned();
        let subjects = vec![
            subject("ada", 0.0056, &[127, -127, 0]),
            subject("Bo Ek", 1.0, &[1]),
        ];
        serde_json::to_vec(&Export { format, subjects }).unwrap()
    }

    #[test]
    fn an_export_is_read() {
        let people = people(&whole()).unwrap();
        let names: Vec<&str> = people.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ada", "Bo Ek"]);
        assert_eq!(people[0].1[1].values, [127, -127, 0]);
    }

    #[test]
    fn a_template_without_its_norm_is_refused() {
        let cases: [(f32, &[i8]); 7] = [
            (1e-45, &[1]),
            (3e38, &[1]),
            (3e38, &[127, 127]),
            (f32::INFINITY, &[1]),
            (f32::NAN, &[1]),
            (1.0, &[0, 0]),
            (0.5, &[127, -127, 0]),
        ];
        for (scale, values) in cases {
            assert_eq!(
                template(exported(scale, values)),
                None,
                "{scale} {values:?}"
            );
        }
    }

    proptest! {
        /// Whoever knows the passphrase can write anything.
        #[test]
        fn what_was_changed_is_sound_or_refused(
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0..2usize, any::<u8>()), 1..6),
        ) {
            let mut text = whole();
            for (at, removed, byte) in changes {
                let at = at.index(text.len());
                let byte = JSON[usize::from(byte) % JSON.len()];
                text.splice(at..(at + removed).min(text.len()), [byte]);
            }
            for (name, templates) in people(&text).into_iter().flatten() {
                prop_assert!(!name.as_str().is_empty());
                for template in templates {
                    let norm = template.values.iter().map(|&v| (f32::from(v) * template.scale).powi(2)).sum::<f32>().sqrt();
                    prop_assert!(template.scale > 0.0 && (0.8..1.2).contains(&norm));
                    prop_assert!(!template.values.is_empty() && !template.values.contains(&i8::MIN));
                }
            }
        }
    }
}
