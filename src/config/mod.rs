//! The configuration file: TOML, every key with a default, an unknown key an error.
//!
//! `config/doorward.toml` is the reference: it shows every key with its default and its meaning,
//! and a test holds the two together. Secrets never stand in the file itself, only the paths of
//! the files that hold them.

mod access;
mod choice;
mod credential;
mod door;
mod range;
mod sections;

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use access::{AccessSection, RuleSection, Zone};
pub use credential::{AWAY, is_credential};
pub use door::{ChallengeSection, DoorSection, Level, LivenessSection, LockoutSection};
pub use sections::{
    CameraSection, CommandsSection, DecisionSection, DetectionSection, DeviceId, DeviceSection,
    FormatChoice, MatchingSection, Metric, ModelsSection, MqttSection, QualitySection,
    ReplaySection, SourceKind, StoreSection,
};

/// Where the packaged service keeps its configuration.
pub const DEFAULT_PATH: &str = "/etc/doorward/doorward.toml";

/// Bytes of a configuration: far more than every key with its explanation.
const MAX_BYTES: u64 = 1 << 20;

/// What an error about a key points to.
const REFERENCE: &str = "config/doorward.toml (installed as /usr/share/doc/doorward/config/doorward.toml) \
                         explains every key";

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who this device is.
    pub device: DeviceSection,
    /// Where frames come from.
    pub camera: CameraSection,
    /// The networks.
    pub models: ModelsSection,
    /// Finding faces.
    pub detection: DetectionSection,
    /// What a face has to be like to be compared.
    pub quality: QualitySection,
    /// Comparing faces.
    pub matching: MatchingSection,
    /// From comparisons to decisions.
    pub decision: DecisionSection,
    /// Presentation attack detection.
    pub liveness: LivenessSection,
    /// Turning the head as told.
    pub challenge: ChallengeSection,
    /// Who may come in.
    pub access: AccessSection,
    /// Too many refusals.
    pub lockout: LockoutSection,
    /// The door's lines.
    pub door: DoorSection,
    /// The broker.
    pub mqtt: MqttSection,
    /// Commands over MQTT.
    pub commands: CommandsSection,
    /// The database.
    pub store: StoreSection,
    /// The file that this was read from; none for the defaults.
    #[serde(skip)]
    pub source: Option<PathBuf>,
}

/// Why a configuration is refused. The message names the file and, where there is one, the line,
/// the column and the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}: {cause}; {REFERENCE}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration {} is wrong: {message}\n{REFERENCE}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Line, column, key and what was expected.
        message: String,
    },
}

impl Config {
    /// Reads `path`, or the packaged file when none is given. Without a path and without a
    /// packaged file the defaults hold; one that is there and cannot be read is an error.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        match Self::read(path.unwrap_or(Path::new(DEFAULT_PATH))) {
            Err(ConfigError::Read { cause, .. })
                if path.is_none() && cause.kind() == ErrorKind::NotFound =>
            {
                Ok(Self::default())
            }
            read => read,
        }
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path).map_err(|cause| ConfigError::Read {
            path: path.into(),
            cause,
        })?;
        let mut config = Self::parse(&text, path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        config.anchor_paths(folder);
        config.source = Some(path.to_owned());
        Ok(config)
    }

    /// Parses `text`; `path` is only named in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let content = |message: String| ConfigError::Content {
            path: path.into(),
            message,
        };
        let config: Self = toml::from_str(text).map_err(|e| content(e.to_string()))?;
        config.check().map_err(content)?;
        Ok(config)
    }

    /// Where it comes from, for people.
    pub fn in_words(&self) -> String {
        let source = self.source.as_deref();
        source.map_or("the defaults".to_owned(), |path| path.display().to_string())
    }

    /// What no single key shows.
    ///
    /// # Errors
    /// Keys that do not go together, in words.
    pub fn check(&self) -> Result<(), String> {
        let decision = &self.decision;
        if decision.agree > decision.of {
            return Err(format!(
                "[decision] agree = {} frames cannot be found among of = {}; agree has to be at \
                 most of",
                decision.agree, decision.of
            ));
        }
        // Where one frame decides, a replay may make each a visit of its own.
        let replay = self.camera.source == SourceKind::Replay && decision.agree.get() > 1;
        let rates = [
            ("[camera] fps", self.camera.fps),
            (
                "[camera.replay] fps",
                replay.then_some(self.camera.replay.fps),
            ),
        ];
        for (key, fps) in rates {
            let Some(fps) = fps else { continue };
            let (apart, gap) = (1.0 / f64::from(fps.get()), decision.visit_gap_s);
            if apart >= gap.get() {
                return Err(format!(
                    "[decision] visit_gap_s = {gap} has to be longer than the {apart:.2} s between \
                     two frames at {key} = {fps}, or every frame would be a visit of its own; raise \
                     one of them"
                ));
            }
        }
        let quality = &self.quality;
        if quality.min_brightness >= quality.max_brightness {
            return Err(format!(
                "[quality] min_brightness = {} has to be below max_brightness = {}",
                quality.min_brightness, quality.max_brightness
            ));
        }
        if self.camera.source == SourceKind::Replay && self.camera.replay.path.is_none() {
            return Err("[camera] source = \"replay\" needs [camera.replay] path".to_owned());
        }
        let mqtt = &self.mqtt;
        if mqtt.client_cert_file.is_some() != mqtt.client_key_file.is_some() {
            return Err("[mqtt] client_cert_file and client_key_file go together".to_owned());
        }
        if mqtt.client_cert_file.is_some() && mqtt.ca_file.is_none() {
            return Err(
                "[mqtt] client_cert_file needs ca_file: name the authority that signed the \
                 broker's certificate"
                    .to_owned(),
            );
        }
        if mqtt.password_file.is_some() && mqtt.username.is_none() {
            return Err("[mqtt] password_file needs username".to_owned());
        }
        if mqtt.enabled && !mqtt.names_a_host() {
            return Err(format!(
                "[mqtt] host = \"{}\": expected a name or an address alone, as broker.lan, 192.0.2.1 \
                 or 2001:db8::1; the port goes to [mqtt] port, and TLS is [mqtt] tls",
                mqtt.host
            ));
        }
        if mqtt.enabled && !mqtt.tls && !mqtt.is_loopback() && !mqtt.allow_plaintext {
            return Err(format!(
                "[mqtt] host = \"{}\" is not this machine, and tls = false would send names and \
                 the password in the clear; set tls = true, or allow_plaintext = true if you \
                 accept that",
                mqtt.host
            ));
        }
        door::check(self)
    }

    /// Relative paths in a file are relative to that file, but for the manifest, which is looked for
    /// in the folder of the models.
    fn anchor_paths(&mut self, folder: &Path) {
        let Self {
            camera,
            models,
            mqtt,
            commands,
            store,
            ..
        } = self;
        [
            &mut camera.replay.path,
            &mut models.directory,
            &mut mqtt.password_file,
            &mut mqtt.ca_file,
            &mut mqtt.client_cert_file,
            &mut mqtt.client_key_file,
            &mut store.key_file,
            &mut commands.key_file,
        ]
        .into_iter()
        .flatten()
        .chain([&mut store.path])
        .filter(|path| path.is_relative())
        .for_each(|path| *path = folder.join(&*path));
    }
}

/// The text of a file, which may be one without end.
fn read_text(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let read = File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if read as u64 > MAX_BYTES {
        let why = format!("it has more than {} MiB", MAX_BYTES >> 20);
        return Err(Error::new(ErrorKind::FileTooLarge, why));
    }
    String::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests;
