//! From the configuration to the core's objects, for the daemon and every command alike.

mod access;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::camera::{CameraRequest, FrameSource, Pace, Replay, ReplayRequest, V4l2Camera};
use crate::command::CommandKey;
use crate::config::{AWAY, Config, Metric as MetricChoice, RuleSection, SourceKind, is_credential};
use crate::decision::DecisionRules;
use crate::face::{
    Detector, DetectorSettings, Embedder, FaceExtractor, FusionRules, Liveness, QualityLimits,
};
use crate::gallery::{Calibration, Gallery, Metric, ModelId, ThresholdPolicy};
use crate::inference::{Models, Role};
use crate::pipeline::Pipeline;
use crate::store::read_key;

/// Longest side that the detector sees of a photograph, which is given more time than a frame.
const PHOTO_SIDE: usize = 640;

/// Name of a manifest when none is given.
const MANIFEST: &str = "manifest.toml";

/// A configuration and its models.
pub struct Setup {
    /// The configuration.
    pub config: Config,
    models: Models,
}

/// What the command line says of models, over the configuration.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ModelArgs {
    /// Folder of models that replaces those in the program.
    #[arg(long, global = true, value_name = "DIR", help_heading = "Models")]
    pub models: Option<PathBuf>,
    /// Manifest of the models, in that folder or anywhere [default: manifest.toml].
    #[arg(long, global = true, value_name = "FILE", help_heading = "Models")]
    pub manifest: Option<PathBuf>,
    /// Detector's name in the manifest.
    #[arg(long, global = true, value_name = "NAME", help_heading = "Models")]
    pub detector: Option<String>,
    /// Embedder's name in the manifest.
    #[arg(long, global = true, value_name = "NAME", help_heading = "Models")]
    pub embedder: Option<String>,
}

impl Setup {
    /// Reads the configuration and the manifest of its models.
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn load(path: Option<&Path>, args: &ModelArgs) -> Result<Self> {
        let mut config = Config::load(path)?;
        let section = &mut config.models;
        let given = args.clone();
        section.directory = given.models.or(section.directory.take());
        section.detector = given.detector.or(section.detector.take());
        section.embedder = given.embedder.or(section.embedder.take());
        section.manifest = given.manifest.or(section.manifest.take());
        let models = match (&section.directory, &section.manifest) {
            (Some(folder), manifest) => {
                let manifest = manifest.as_deref().unwrap_or(Path::new(MANIFEST));
                Models::open(folder, manifest).context("--models or [models] directory")?
            }
            (None, None) => Models::bundled()?,
            (None, Some(manifest)) => bail!(
                "the manifest {} (--manifest or [models] manifest) needs the folder of its models: \
                 name it with --models or [models] directory, or leave the manifest out for the \
                 models in the program",
                manifest.display()
            ),
        };
        Ok(Self { config, models })
    }

    /// The models at hand.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// The detector, for frames.
    ///
    /// # Errors
    /// A model that cannot be used.
    pub fn detector(&self) -> Result<Detector> {
        self.detector_up_to(self.config.detection.max_side.get() as usize)
    }

    fn detector_up_to(&self, max_side: usize) -> Result<Detector> {
        let name = self.config.models.detector.as_deref();
        let model = self.models.get(Role::Detector, name)?;
        #[expect(clippy::cast_possible_truncation, reason = "a fraction")]
        let score = self.config.detection.score.map(|s| s.get() as f32);
        Ok(Detector::new(model, DetectorSettings { max_side, score })?)
    }

    /// The embedder and the identity that its templates carry.
    ///
    /// # Errors
    /// A model that cannot be used.
    pub fn embedder(&self) -> Result<(Embedder, ModelId)> {
        let model = self
            .models
            .get(Role::Embedder, self.config.models.embedder.as_deref())?;
        let id = ModelId(model.spec.sha256.to_ascii_lowercase());
        Ok((Embedder::new(model)?, id))
    }

    /// Detector and embedder for photographs, and the identity of the embedder.
    ///
    /// # Errors
    /// A model that cannot be used.
    pub fn extractor(&self) -> Result<(FaceExtractor, ModelId)> {
        let (embedder, id) = self.embedder()?;
        Ok((
            FaceExtractor::new(self.detector_up_to(PHOTO_SIDE)?, embedder),
            id,
        ))
    }

    /// The liveness model, and how its frames are put together.
    ///
    /// # Errors
    /// A model that is not there or cannot be used.
    pub fn liveness(&self) -> Result<(Liveness, FusionRules)> {
        let section = &self.config.liveness;
        let name = self.config.models.liveness.as_deref();
        let model = self.models.get(Role::Liveness, name).context(
            "[liveness] always, or a rule with liveness = \"warn\" or \"required\", needs a \
             liveness model",
        )?;
        let liveness = Liveness::new(model)?;
        #[expect(clippy::cast_possible_truncation, reason = "a fraction")]
        let threshold = section.threshold.map(|t| t.get() as f32);
        let rules = FusionRules {
            frames: section.frames.get() as usize,
            threshold: threshold.unwrap_or(liveness.threshold()),
        };
        Ok((liveness, rules))
    }

    /// Whether anything asks for presentation attack detection.
    pub fn needs_liveness(&self) -> bool {
        self.config.liveness.always
            || self
                .config
                .access
                .rule
                .iter()
                .any(RuleSection::needs_liveness)
    }

    /// An empty gallery for templates of `embedder`.
    ///
    /// # Errors
    /// A metric that the model does not bring, or no threshold for it.
    pub fn gallery(&self, embedder: &Embedder, id: ModelId) -> Result<Gallery> {
        let matching = &self.config.matching;
        let spec = embedder.spec();
        let metric = match matching.metric {
            MetricChoice::Cosine => Metric::Cosine,
            MetricChoice::Euclidean => Metric::Euclidean,
            MetricChoice::L1 => spec.l1_head.as_ref().map(Metric::from).with_context(|| {
                format!(
                    "[matching] metric = \"l1\" needs a model with a learned head, and {} has \
                     none; use \"cosine\"",
                    embedder.name()
                )
            })?,
        };
        let calibration = match Calibration::of(embedder.name(), spec, &metric) {
            Ok(calibration) => Some(calibration),
            Err(_) if matching.threshold.is_some() => None,
            Err(error) => return Err(error.into()),
        };
        let policy = ThresholdPolicy {
            fmr: matching.fmr.get(),
            fpir: matching.fpir.get(),
            threshold: matching.threshold.map(|threshold| threshold.get()),
            calibration,
        };
        Ok(Gallery::new(id, metric, policy))
    }

    /// The quality gate's limits.
    #[expect(clippy::cast_possible_truncation, reason = "settings fit in f32")]
    #[expect(clippy::cast_precision_loss, reason = "pixels are at most 4096")]
    pub fn limits(&self) -> QualityLimits {
        let section = &self.config.quality;
        QualityLimits {
            min_face_px: section.min_face_px.get() as f32,
            min_sharpness: section.min_sharpness.get() as f32,
            min_brightness: section.min_brightness.get() as f32,
            max_brightness: section.max_brightness.get() as f32,
            max_yaw: section.max_yaw.get() as f32,
            max_pitch: section.max_pitch.get() as f32,
            max_roll: section.max_roll.get() as f32,
        }
    }

    /// The decision's rules.
    #[expect(clippy::cast_possible_truncation, reason = "a fraction")]
    pub fn rules(&self) -> DecisionRules {
        let section = &self.config.decision;
        DecisionRules {
            agree: section.agree.get() as usize,
            of: section.of.get() as usize,
            margin: section.margin.get() as f32,
            cooldown: Duration::from_secs_f64(section.cooldown_s.get()),
            unknown_after: Duration::from_secs_f64(section.unknown_after_s.get()),
        }
    }

    /// The key that signs commands, if there is to be one.
    ///
    /// # Errors
    /// A file that cannot be read, that others can read, or that holds no key.
    pub fn command_key(&self) -> Result<Option<CommandKey>> {
        let Some(path) = &self.config.commands.key_file else {
            return Ok(None);
        };
        let key = read_key(path).context("[commands] key_file")?;
        let key = key.with_context(|| {
            let away = is_credential(path);
            let path = path.display();
            if away {
                return format!("[commands] key_file = \"{path}\" {AWAY}");
            }
            format!(
                "[commands] key_file = \"{path}\" is not there; make one with `(umask 077; openssl \
                 rand -hex 32 > {path})`"
            )
        })?;
        Ok(Some(CommandKey::new(key)))
    }

    /// How the configured camera is asked for.
    pub fn camera_request(&self) -> CameraRequest {
        let camera = &self.config.camera;
        CameraRequest {
            device: camera.device.display().to_string(),
            format: camera.format.0,
            size: camera
                .size
                .map(|(width, height)| (width.get(), height.get())),
            fps: camera.fps.map(|fps| fps.get()),
            timeout: Duration::from_secs_f64(camera.timeout_s.get()),
        }
    }

    /// Opens the camera or the replay. Frames of a camera are timed from `origin`.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn open_source(&self, origin: Instant) -> Result<Box<dyn FrameSource>> {
        let camera = &self.config.camera;
        match (camera.source, &camera.replay.path) {
            (SourceKind::Replay, Some(path)) => {
                let replay = &camera.replay;
                Ok(Box::new(Replay::open(ReplayRequest {
                    path: path.clone(),
                    fps: NonZeroU32::new(replay.fps.get()).unwrap_or(NonZeroU32::MIN),
                    pace: if replay.fast {
                        Pace::Fast
                    } else {
                        Pace::RealTime
                    },
                    repeat: replay.repeat,
                })?))
            }
            _ => Ok(Box::new(V4l2Camera::open(&self.camera_request(), origin)?)),
        }
    }

    /// The whole pipeline with an empty gallery.
    ///
    /// # Errors
    /// What the parts say.
    pub fn pipeline(&self) -> Result<Pipeline> {
        let (embedder, id) = self.embedder()?;
        let gallery = self.gallery(&embedder, id)?;
        let gap = Duration::from_secs_f64(self.config.decision.visit_gap_s.get());
        let detector = self.detector()?;
        let pipeline = Pipeline::new(
            detector,
            embedder,
            self.limits(),
            gallery,
            self.rules(),
            gap,
        );
        if !self.needs_liveness() {
            return Ok(pipeline);
        }
        let (liveness, rules) = self.liveness()?;
        Ok(pipeline.with_liveness(liveness, rules))
    }
}
