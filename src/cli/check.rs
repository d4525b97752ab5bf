//! `doorward check`: everything that could keep the daemon from working, and how to mend it.

use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{look, open_store, say, verdict};
use crate::camera::{CaptureDevice, capture_devices, offered_modes};
use crate::config::SourceKind;
use crate::daemon::clock_synced;
use crate::door::{Contact, Strike};
use crate::image::{RgbImage, decode};
use crate::mqtt::probe;
use crate::setup::{ModelArgs, Setup};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 when all is well, 1 when something is wrong, 2 for an error."
)]
pub(super) struct Args {
    /// Do not try to reach the broker.
    #[arg(long)]
    offline: bool,
    /// Show what the camera sees, with boxes around faces: in the terminal, or as a new PNG
    /// file.
    #[arg(long, value_name = "FILE.png", num_args = 0..=1)]
    camera: Option<Option<PathBuf>>,
}

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    /// What is right or wrong, in words.
    outcome: Result<String>,
}

impl Finding {
    fn is_fine(&self) -> bool {
        self.outcome.is_ok()
    }

    fn detail(&self) -> String {
        match &self.outcome {
            Ok(words) => words.clone(),
            Err(error) => format!("{error:#}"),
        }
    }

    fn print(&self) -> Result<()> {
        let mark = if self.is_fine() { "ok   " } else { "WRONG" };
        say(format!("{mark} {}: {}", self.what, self.detail()))
    }
}

pub(super) fn run(
    args: &Args,
    config: Option<&Path>,
    models: &ModelArgs,
    json: bool,
) -> Result<ExitCode> {
    let mut findings = Vec::new();
    let mut live = None;
    match Setup::load(config, models) {
        Err(error) => findings.push(Finding {
            what: "configuration",
            outcome: Err(error),
        }),
        Ok(setup) => {
            let source = setup.config.in_words();
            let mut note = |what, outcome| findings.push(Finding { what, outcome });
            note("configuration", Ok(source));
            note("detector", detector(&setup));
            note("embedder", embedder(&setup));
            if setup.needs_liveness() {
                note("liveness", liveness(&setup));
            }
            note("gallery", gallery(&setup));
            note("audit trail", audit(&setup));
            if !setup.config.access.rule.is_empty() {
                note("access", access(&setup));
            }
            if setup.config.door.is_on() {
                note("door", door(&setup));
            }
            if setup.config.commands.key_file.is_some() {
                let key = setup.command_key();
                note("commands", key.map(|_| "signed ones are taken".to_owned()));
            }
            if setup.config.camera.source == SourceKind::V4l2 {
                note("cameras", Ok(in_words(&capture_devices())));
            }
            note("camera", camera(&setup));
            if !args.offline {
                note("broker", broker(&setup));
            }
            match &args.camera {
                Some(None) if !json && stdout().is_terminal() => live = Some(setup),
                Some(file) => note("picture", look::look(&setup, file.as_deref())),
                None => {}
            }
        }
    }
    let mut fine = findings.iter().all(Finding::is_fine);
    if json {
        let rows = findings
            .iter()
            .map(|f| json!({ "what": f.what, "ok": f.is_fine(), "detail": f.detail() }));
        say(json!({ "ok": fine, "checks": rows.collect::<Vec<_>>() }))?;
    } else {
        findings.iter().try_for_each(Finding::print)?;
    }
    // Last, because Ctrl-C ends it and the program.
    if let Some(setup) = live {
        let picture = Finding {
            what: "picture",
            outcome: look::show(&setup),
        };
        picture.print()?;
        fine &= picture.is_fine();
    }
    Ok(verdict(fine))
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
    let mut store = open_store(setup)?;
    store.check()?;
    let (embedder, id) = setup.embedder()?;
    store.load(&mut setup.gallery(&embedder, id.clone())?)?;
    let enrol_again = store.subjects_without(&id)?;
    anyhow::ensure!(
        enrol_again == 0,
        "the templates of {enrol_again} people are of another model and cannot be used; enrol them \
         again (doorward gallery list says whom), or go back to their model"
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

/// Rules that would let nobody in, or not those that they name.
fn access(setup: &Setup) -> Result<String> {
    let section = &setup.config.access;
    let people = open_store(setup)?.list()?;
    let mut wrong = Vec::new();
    for rule in &section.rule {
        let unknown = |name: &&str| !people.iter().any(|person| person.name == *name);
        let unknown: Vec<_> = rule.named().filter(unknown).collect();
        if !unknown.is_empty() {
            let names = unknown.join(", ");
            wrong.push(format!("\"{}\" names {names}, not enrolled", rule.name));
        }
        if rule.needs_a_clock() && !clock_synced(setup.config.device.trust_clock) {
            wrong.push(format!(
                "\"{}\" has days, hours or dates and lets nobody in, because no time service has \
                 set the clock (systemd-timesyncd does; [device] trust_clock = true takes it for right)",
                rule.name
            ));
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(format!("{} rules", section.rule.len()))
}

fn audit(setup: &Setup) -> Result<String> {
    let audit = open_store(setup)?.verify_audit()?;
    let broken = "it is broken; `doorward audit verify` says where";
    anyhow::ensure!(audit.is_whole(), broken);
    Ok(format!(
        "{} lines, each bound to the one before it",
        audit.lines
    ))
}

/// The cameras that are plugged in, each with the names that stay when numbers change.
fn in_words(cameras: &[CaptureDevice]) -> String {
    let camera = |camera: &CaptureDevice| {
        let card = camera.card.as_deref().unwrap_or("not readable");
        let names = camera.aliases.iter().map(|alias| alias.display());
        let names: String = names.map(|name| format!(", {name}")).collect();
        format!("{} ({card}){names}", camera.node.display())
    };
    match cameras {
        [] => "none on this machine".to_owned(),
        _ => cameras.iter().map(camera).collect::<Vec<_>>().join("; "),
    }
}

/// Takes a frame and decodes it: a camera that can be opened may be silent, or send no pictures.
fn camera(setup: &Setup) -> Result<String> {
    let mut offers = String::new();
    if setup.config.camera.source == SourceKind::V4l2 {
        let modes = offered_modes(&setup.camera_request().device)?;
        let modes: Vec<_> = modes.iter().map(ToString::to_string).collect();
        offers = format!("; it offers {}", modes.join(", "));
    }
    let mut source = setup.open_source(Instant::now())?;
    let words = source.describe();
    let frame = source.next_frame()?;
    let frame = frame.with_context(|| format!("{words} gives no frame"))?;
    decode(&frame, &mut RgbImage::default()).with_context(|| {
        format!("{words} gives a frame that is no picture; configure another format or replay")
    })?;
    Ok(words + &offers)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::CameraError;

    #[test]
    fn cameras_are_listed_with_the_names_that_stay() {
        let camera = |node: &str, aliases: &[&str], card| CaptureDevice {
            node: node.into(),
            aliases: aliases.iter().map(PathBuf::from).collect(),
            card,
        };
        let refused = CameraError::PermissionDenied {
            device: "/dev/video2".to_owned(),
        };
        let cameras = [
            camera("/dev/video0", &["/dev/v4l/by-path/usb-1"], Ok("Eye".into())),
            camera("/dev/video2", &[], Err(refused)),
        ];
        assert_eq!(
            in_words(&cameras),
            "/dev/video0 (Eye), /dev/v4l/by-path/usb-1; /dev/video2 (not readable)"
        );
        assert_eq!(in_words(&[]), "none on this machine");
    }
}
