//! `doorward check`: everything that could keep the daemon from working, and how to mend it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::json;

use super::look;
use crate::camera::{capture_devices, offered_modes};
use crate::config::SourceKind;
use crate::door::{Contact, Strike};
use crate::mqtt::probe;
use crate::setup::{ModelArgs, Setup};
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Do not try to reach the broker.
    #[arg(long)]
    offline: bool,
    /// Show what the camera sees, with boxes around faces: in the terminal, or as a PNG file.
    #[arg(long, value_name = "FILE.png", num_args = 0..=1)]
    camera: Option<Option<PathBuf>>,
}

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    /// What is right or wrong, in words.
    outcome: Result<String>,
}

pub(super) fn run(
    args: &Args,
    config: Option<&Path>,
    models: &ModelArgs,
    json: bool,
) -> Result<ExitCode> {
    let mut findings = Vec::new();
    match Setup::load(config, models) {
        Err(error) => findings.push(Finding {
            what: "configuration",
            outcome: Err(error),
        }),
        Ok(setup) => {
            let source = match config {
                Some(path) => path.display().to_string(),
                None => "the packaged file or the defaults".to_owned(),
            };
            let mut note = |what, outcome| findings.push(Finding { what, outcome });
            note("configuration", Ok(source));
            note("detector", detector(&setup));
            note("embedder", embedder(&setup));
            if setup.needs_liveness() {
                note("liveness", liveness(&setup));
            }
            note("gallery", gallery(&setup));
            note("audit trail", audit(&setup));
            if setup.config.door.is_on() {
                note("door", door(&setup));
            }
            if setup.config.commands.key_file.is_some() {
                let key = setup.command_key();
                note("commands", key.map(|_| "signed ones are taken".to_owned()));
            }
            note("camera", camera(&setup));
            if let Some(file) = &args.camera {
                note("picture", look::look(&setup, file.as_deref()));
            }
            if !args.offline {
                note("broker", broker(&setup));
            }
        }
    }
    let fine = findings.iter().all(|f| f.outcome.is_ok());
    let text = |outcome: &Result<String>| match outcome {
        Ok(words) => words.clone(),
        Err(error) => format!("{error:#}"),
    };
    if json {
        let rows = findings.iter().map(
            |f| json!({ "what": f.what, "ok": f.outcome.is_ok(), "detail": text(&f.outcome) }),
        );
        println!(
            "{}",
            json!({ "ok": fine, "checks": rows.collect::<Vec<_>>() })
        );
    } else {
        for Finding { what, outcome } in &findings {
            let mark = if outcome.is_ok() { "ok   " } else { "WRONG" };
            println!("{mark} {what}: {}", text(outcome));
        }
    }
    Ok(if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn detector(setup: &Setup) -> Result<String> {
    let detector = setup.detector()?;
    let arithmetic = detector.arithmetic().map(ToString::to_string);
    Ok(format!(
        "{} from {}; {}",
        detector.name(),
        setup.models().origin(),
        arithmetic.unwrap_or_default()
    ))
}

fn embedder(setup: &Setup) -> Result<String> {
    let (embedder, id) = setup.embedder()?;
    let gallery = setup.gallery(&embedder, id.clone())?;
    Ok(format!(
        "{} ({id}), {} components, threshold of a search in one template {:.3}; {}",
        embedder.name(),
        embedder.size(),
        gallery.threshold(),
        embedder.arithmetic()
    ))
}

fn liveness(setup: &Setup) -> Result<String> {
    let (liveness, rules) = setup.liveness()?;
    Ok(format!(
        "{}, {} frames, threshold {:.3}; {}",
        liveness.name(),
        rules.frames,
        rules.threshold,
        liveness.arithmetic()
    ))
}

/// Takes the lines as the daemon would, the strike shut.
fn door(setup: &Setup) -> Result<String> {
    let section = &setup.config.door;
    let strike = Strike::take(section)?;
    let contact = Contact::take(section)?;
    let stands = match contact.map(|contact| contact.is_open()).transpose()? {
        Some(true) => ", and stands open",
        Some(false) => ", and is closed",
        None => "",
    };
    let line = if strike.is_some() {
        "a strike"
    } else {
        "no strike"
    };
    let lock = if section.mqtt_lock {
        ", a lock on MQTT"
    } else {
        ""
    };
    let rules = setup.config.access.rule.len();
    Ok(format!("{line}{lock}, {rules} rules{stands}"))
}

fn gallery(setup: &Setup) -> Result<String> {
    let store = Store::open(&setup.config.store, Timestamp::now())?;
    store.check()?;
    let (_, id) = setup.embedder()?;
    let foreign = store.templates_of_other_models(&id)?;
    anyhow::ensure!(
        foreign == 0,
        "{foreign} templates are of another model and cannot be used; enrol these people again, \
         or go back to their model"
    );
    let people = store.list()?.len();
    let hint = if people == 0 {
        "; see doorward enroll --help"
    } else {
        ""
    };
    Ok(format!(
        "{people} people in {}, sealed by {}{hint}",
        setup.config.store.path.display(),
        store.key_file().display()
    ))
}

fn audit(setup: &Setup) -> Result<String> {
    let audit = Store::open(&setup.config.store, Timestamp::now())?.verify_audit()?;
    let broken = "it is broken; `doorward audit verify` says where";
    anyhow::ensure!(audit.is_whole(), broken);
    Ok(format!(
        "{} lines, each bound to the one before it",
        audit.lines
    ))
}

fn camera(setup: &Setup) -> Result<String> {
    if setup.config.camera.source == SourceKind::Replay {
        return Ok(setup.open_source(Instant::now())?.describe());
    }
    let request = setup.camera_request();
    let modes = offered_modes(&request.device).map_err(|error| {
        let cameras: Vec<_> = capture_devices()
            .iter()
            .map(|camera| {
                let card = camera.card.as_deref().unwrap_or("not readable");
                format!("{} ({card})", camera.node.display())
            })
            .collect();
        let seen = if cameras.is_empty() {
            "none".to_owned()
        } else {
            cameras.join("; ")
        };
        anyhow::Error::from(error).context(format!("cameras on this machine: {seen}"))
    })?;
    let source = setup.open_source(Instant::now())?;
    let offered: Vec<_> = modes.iter().map(ToString::to_string).collect();
    Ok(format!(
        "{}; it offers {}",
        source.describe(),
        offered.join(", ")
    ))
}

fn broker(setup: &Setup) -> Result<String> {
    let mqtt = &setup.config.mqtt;
    if !mqtt.enabled {
        return Ok("[mqtt] enabled = false".to_owned());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(probe(mqtt, &setup.config.device.id))?;
    Ok(format!("{}:{} accepts us", mqtt.host, mqtt.port()))
}
