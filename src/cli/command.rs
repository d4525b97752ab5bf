//! `doorward command`: tells a running device what to do, by way of the broker.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use jiff::Timestamp;
use serde_json::Value;
use ulid::Ulid;

use super::{Context, verdict, write_private};
use crate::command::{Action, Answer, Challenge, CommandKey, MAX_PHOTO, Request};
use crate::config::DeviceId;
use crate::image::photo_bytes;
use crate::mqtt::Asker;

/// How long an answer may take, and how long where the device takes its time for it, or for what is before it.
const PATIENCE: Duration = Duration::from_secs(10);
const LONG_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The device; that of the configuration when none is given.
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Make a person known, from a photo or from the device's camera.
    Enroll {
        /// The person's name.
        subject: String,
        /// A photo of the person alone, `-` for standard input; without it the device's camera is
        /// used.
        #[arg(long, value_name = "FILE")]
        photo: Option<PathBuf>,
    },
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
    /// Show who is enrolled.
    List,
    /// Save what the camera sees.
    Snapshot {
        /// The JPEG file; it must not exist yet.
        file: PathBuf,
    },
    /// Have configuration and models read again.
    Reload,
    /// Open the door once.
    Open,
    /// Keep the door shut until `release`.
    Hold,
    /// End `hold`.
    Release,
    /// Say for a person at the door who they are; the face has to agree.
    Claim {
        /// The person's name.
        subject: String,
    },
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let config = &context.setup.config;
    let key = context.setup.command_key()?.context(
        "commands are signed, and [commands] key_file names no key; use that of the device",
    )?;
    ensure!(
        config.mqtt.enabled,
        "[mqtt] enabled = false: there is no way to the device"
    );
    let device = match &args.device {
        Some(id) => DeviceId::try_from(id.clone()).map_err(anyhow::Error::msg)?,
        None => config.device.id.clone(),
    };
    let action = action(&args.what)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut answer = runtime.block_on(async {
        let name = Ulid::generate().to_string();
        let mut asker = Asker::connect(&config.mqtt, &device, &name).await?;
        let answer = ask(&mut asker, device.as_str(), &action, &key).await;
        asker.close().await;
        answer
    })?;
    if let (What::Snapshot { file }, true) = (&args.what, answer.ok) {
        let jpeg = answer.result["jpeg"].take();
        let jpeg = STANDARD.decode(jpeg.as_str().unwrap_or_default());
        write_private(file, &jpeg.context("the answer has no picture")?)?;
        answer.result["jpeg"] = file.display().to_string().into();
    }
    context.answer(&serde_json::to_value(&answer)?, || words(&answer))?;
    Ok(verdict(answer.ok))
}

fn action(what: &What) -> Result<Action> {
    Ok(match what.clone() {
        What::Enroll { subject, photo } => Action::Enroll {
            subject,
            photo: photo
                .map(|path| photo_bytes(&path, MAX_PHOTO))
                .transpose()?,
        },
        What::Remove { subject } => Action::Remove { subject },
        What::Rename { from, to } => Action::Rename {
            subject: from,
            name: to,
        },
        What::List => Action::List,
        What::Snapshot { file } => {
            ensure!(!file.exists(), "{} exists already", file.display());
            Action::Snapshot
        }
        What::Reload => Action::Reload,
        What::Open => Action::Open,
        What::Hold => Action::Hold,
        What::Release => Action::Release,
        What::Claim { subject } => Action::Claim { subject },
    })
}

/// Asks, and once more with the challenge of a device whose clock is not set.
async fn ask(asker: &mut Asker, device: &str, action: &Action, key: &CommandKey) -> Result<Answer> {
    let first = ask_once(asker, device, action, key, None).await?;
    match first.challenge() {
        None => Ok(first),
        challenge => ask_once(asker, device, action, key, challenge).await,
    }
}

async fn ask_once(
    asker: &mut Asker,
    device: &str,
    action: &Action,
    key: &CommandKey,
    challenge: Option<Challenge>,
) -> Result<Answer> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce)?;
    let request = Request {
        device,
        action,
        id: &Ulid::generate().to_string(),
        issued_at: Timestamp::now(),
        nonce,
        challenge,
    };
    let patience = if action.takes_long() {
        LONG_PATIENCE
    } else {
        PATIENCE
    };
    let answer = asker.ask(request.sign(key)?, patience).await?;
    Answer::parse(&answer)
        .map_err(anyhow::Error::msg)
        .context("the device's answer makes no sense")
}

fn words(answer: &Answer) -> String {
    let Answer {
        device,
        ok,
        reason,
        detail,
        result,
        ..
    } = answer;
    // Nobody has signed an answer: it must not steer the terminal.
    let plain = |text: &str| text.replace(char::is_control, "\u{fffd}");
    let (device, reason, detail) = (plain(device), plain(reason), plain(detail));
    if !ok {
        return format!("{device} does not obey ({reason}): {detail}");
    }
    let person = |row: &Value| {
        let field = |key: &str| row[key].to_string().trim_matches('"').to_owned();
        format!(
            "\n{}: {} templates since {}",
            field("subject"),
            field("templates"),
            field("created")
        )
    };
    let people = result.as_array().into_iter().flatten();
    let people =
        people.map(|row| person(row).replace(|c: char| c.is_control() && c != '\n', "\u{fffd}"));
    format!("{device}: {detail}{}", people.collect::<String>())
}
