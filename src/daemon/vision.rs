//! The vision thread: frames through the pipeline, decisions to the store.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::guard::{Guard, remembered};
use super::pace::Pace;
use super::pruning::Pruning;
use super::reload::Successor;
use super::shared::{Shared, lock};
use super::sight::Sight;
use super::wishes::Wished;
use crate::camera::{Latest, Progress, Taken};
use crate::config::SourceKind;
use crate::image::Frame;
use crate::pipeline::{Pipeline, Step, StepError, Timings};

/// How often the gallery is looked at for changes, and the state is told.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

pub(super) struct Vision {
    pipeline: Pipeline,
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    /// Grows with every turn.
    turns: Arc<AtomicU64>,
    /// Lets people in, when there are rules to go by.
    guard: Guard,
    /// When the time of a camera's frames began.
    origin: Instant,
    /// Who wants the next picture.
    wished: Wished,
    /// The gallery's revision in the store when it was read.
    revision: Option<u64>,
    sight: Sight,
    pace: Pace,
    /// When the house was kept last.
    kept: Instant,
    pruning: Pruning,
    timings: Timings,
}

impl Vision {
    pub(super) fn new(
        pipeline: Pipeline,
        shared: Arc<Shared>,
        progress: Arc<Progress>,
        turns: Arc<AtomicU64>,
        guard: Guard,
        origin: Instant,
        wished: Wished,
    ) -> Self {
        Self {
            pipeline,
            shared,
            progress,
            turns,
            guard,
            origin,
            wished,
            revision: None,
            sight: Sight::default(),
            pace: Pace::new(Instant::now()),
            kept: Instant::now(),
            pruning: Pruning::default(),
            timings: Timings::default(),
        }
    }

    /// Reads the gallery again when it has changed in the store.
    ///
    /// # Errors
    /// What the store says; the gallery in memory stays.
    pub(super) fn reload(&mut self) -> Result<()> {
        let model = self.pipeline.gallery().model_id().clone();
        let mut store = lock(&self.shared.store);
        let revision = store.gallery_revision()?;
        if self.revision == Some(revision) {
            return Ok(());
        }
        let enrol_again = store.subjects_without(&model)?;
        let remembered = remembered(&store)?;
        let gallery = self.pipeline.gallery_mut();
        store.load(gallery)?;
        drop(store);
        self.guard.recall(remembered);
        if enrol_again > 0 {
            log::warn!(
                "the templates of {enrol_again} people are of another model than {model} and cannot be \
                 used; enrol them again (doorward gallery list says whom)"
            );
        }
        self.revision = Some(revision);
        let size = gallery.len();
        log::info!(
            "gallery: {size} subjects, threshold {:.3}",
            gallery.threshold()
        );
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.shared.state.send_modify(|s| {
            (s.gallery_size, s.enrol_again) = (size, enrol_again);
        });
        Ok(())
    }

    /// Whoever has been removed is not to be known, even while the templates cannot be read.
    fn forget_removed(&mut self) {
        let list = lock(&self.shared.store).list();
        let names: HashSet<String> = match list {
            Ok(people) => people.into_iter().map(|person| person.name).collect(),
            Err(error) => {
                return log::error!("whom the gallery still names could not be read: {error}");
            }
        };
        let gallery = self.pipeline.gallery_mut();
        gallery.keep(|name| names.contains(name));
        let size = u32::try_from(gallery.len()).unwrap_or(u32::MAX);
        self.shared.state.send_modify(|s| s.gallery_size = size);
    }

    /// Takes frames until the slot is closed.
    ///
    /// # Errors
    /// A network or a gallery that fails; nothing will work then.
    pub(super) fn run(mut self, slot: &Latest) -> Result<()> {
        loop {
            self.turns.fetch_add(1, Ordering::Relaxed);
            let successor = lock(&self.shared.successor).take();
            successor.into_iter().for_each(|next| self.succeed(next));
            match slot.take(HOUSEKEEPING) {
                Taken::Frame(frame) => self.frame(&frame).context("recognition failed")?,
                Taken::TimedOut => self.idle(),
                Taken::Closed => break,
            }
            self.keep_house(slot);
        }
        let decisions = self.pipeline.end_visits(Duration::MAX);
        self.publish(&Step {
            decisions,
            timings: self.timings,
            ..Step::default()
        });
        self.guard.finish(&self.pipeline);
        Ok(())
    }

    /// Lets another pipeline take over, with the visits that are going on.
    fn succeed(&mut self, next: Successor) {
        let old = std::mem::replace(&mut self.pipeline, next.pipeline);
        let revision = self.revision.take();
        let outcome = self.reload();
        if outcome.is_ok() {
            self.pipeline.succeed(old);
            *lock(&self.shared.setup) = next.setup;
            *lock(&self.shared.maker) = next.maker;
            self.guard.follow(&self.pipeline);
        } else {
            (self.pipeline, self.revision) = (old, revision);
        }
        // Whoever asked may have gone.
        let _ = next.done.send(outcome.context("the gallery"));
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), StepError> {
        let taken = self.taken(frame);
        self.guard.prepare(&mut self.pipeline);
        match self.pipeline.step(frame) {
            Ok(step) => {
                self.sight.good(&self.shared);
                self.keep_pace(frame);
                self.timings = step.timings;
                let Timings {
                    decode,
                    detect,
                    align,
                    embed,
                    liveness,
                    search,
                    total,
                } = step.timings;
                log::debug!(
                    "frame {}: {} faces, decode {decode:?}, detect {detect:?}, align {align:?}, \
                     embed {embed:?}, liveness {liveness:?}, match {search:?}, total {total:?}",
                    frame.sequence,
                    step.faces.len()
                );
                for face in &step.faces {
                    log::debug!(
                        "visit {}: {:?} {:?}",
                        face.track.0,
                        face.refusals,
                        face.quality
                    );
                }
                self.publish(&step);
                self.guard.frame(&step, frame.captured_at, taken);
                self.wished.fulfil(frame);
                Ok(())
            }
            Err(StepError::Image(error)) => {
                self.sight.bad(frame.sequence, &error, &self.shared);
                self.idle();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Nothing has been seen for a while.
    fn idle(&mut self) {
        self.guard.prepare(&mut self.pipeline);
        let mut step = Step::default();
        // A replay's time stands still between its frames.
        if self.shared.source() == SourceKind::V4l2 {
            step.decisions = self.pipeline.end_visits(self.guard.now());
            step.timings = self.timings;
            self.publish(&step);
        }
        self.guard.idle(&step.decisions);
    }

    fn keep_pace(&mut self, frame: &Frame) {
        let gap = lock(&self.shared.setup).config.decision.visit_gap_s.get();
        let apart = self
            .pace
            .frame(frame.captured_at, Duration::from_secs_f64(gap));
        if let Some(apart) = apart {
            log::warn!(
                "frames lie {:.1} s apart, and a visit ends after {gap} s unseen, so nobody is recognised; \
                 raise [decision] visit_gap_s, or find out what is slow (doorward bench, [camera] fps)",
                apart.as_secs_f32()
            );
        }
    }

    /// When a frame was taken: a camera's is as old as it is, a replay's is from now.
    fn taken(&self, frame: &Frame) -> Instant {
        match self.shared.source() {
            SourceKind::V4l2 => self.origin + frame.captured_at,
            SourceKind::Replay => Instant::now(),
        }
    }

    fn publish(&self, step: &Step) {
        let size = self.pipeline.gallery().len();
        for decision in &step.decisions {
            let now = Timestamp::now();
            let event = lock(&self.shared.maker).decision(decision, size, &step.timings, now);
            // Nothing hangs on it here: the guard stores its own event before it opens.
            self.shared.report(event);
        }
    }

    fn keep_house(&mut self, slot: &Latest) {
        if self.kept.elapsed() < HOUSEKEEPING {
            return;
        }
        self.kept = Instant::now();
        if let Err(error) = self.reload() {
            log::error!("the gallery could not be read again: {error:#}");
            self.forget_removed();
        }
        self.shared.catch_up();
        self.pruning.run(&self.shared);
        let rate = self.pace.rate(self.kept);
        let dropped = slot.replaced() + self.progress.dropped.load(Ordering::Relaxed);
        self.shared.state.send_modify(|s| {
            s.frames_per_second = rate.unwrap_or(s.frames_per_second);
            s.frames_dropped = dropped;
        });
    }
}
