//! The guard in the vision thread: decisions and claims in, events and the opened door out.
//!
//! Every answer is stored before it is acted on. A grant that cannot be stored opens nothing.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::{Timestamp, ZonedDateTime};

use super::door::{Claimed, DoorControl};
use super::events::clock_synced;
use super::shared::{Shared, lock};
use crate::access::{Admission, Answer, Draw, Lockout, Reason, Refusals, Ruling};
use crate::challenge::Turn;
use crate::decision::Decision;
use crate::pipeline::{Pipeline, Step};
use crate::setup::Setup;
use crate::store::{Store, StoreError};

/// How long after refusals could not be stored it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Guard {
    admission: Admission,
    shared: Arc<Shared>,
    door: DoorControl,
    claims: Receiver<Claimed>,
    /// The time of the last frame, and when it came.
    last: (Duration, Instant),
    /// When refusals could last not be stored.
    failed: Option<Instant>,
}

impl Guard {
    /// A guard by the rules of `setup`; without any it lets nobody in and says nothing.
    ///
    /// # Errors
    /// Refusals that cannot be read.
    pub(super) fn new(
        setup: &Setup,
        pipeline: &Pipeline,
        shared: &Arc<Shared>,
        door: DoorControl,
        claims: Receiver<Claimed>,
    ) -> Result<Self> {
        let remembered = remembered(&lock(&shared.store))?;
        let lockout = Lockout::new(setup.lockout_rules(), remembered, Duration::ZERO);
        let rules = setup.access_rules(pipeline.gallery());
        Ok(Self {
            admission: Admission::new(rules, lockout, draw(setup)),
            shared: Arc::clone(shared),
            door,
            claims,
            last: (Duration::ZERO, Instant::now()),
            failed: None,
        })
    }

    /// Goes by the rules that hold now, after a reload.
    pub(super) fn follow(&mut self, pipeline: &Pipeline) {
        let setup = Arc::clone(&lock(&self.shared.setup));
        let rules = setup.access_rules(pipeline.gallery());
        self.admission
            .follow(rules, setup.lockout_rules(), draw(&setup));
    }

    /// After the gallery has changed: refusals follow people to their new names.
    pub(super) fn recall(&mut self, remembered: Vec<(String, Refusals)>) {
        self.admission.recall(remembered, self.now());
    }

    /// Before a frame: takes claims, and has the pipeline compare with whom somebody has to be.
    pub(super) fn prepare(&mut self, pipeline: &mut Pipeline) {
        while let Ok(claimed) = self.claims.try_recv() {
            let Claimed {
                subject,
                made,
                until,
            } = claimed;
            let known = pipeline.gallery().knows(&subject);
            let taken = Instant::now();
            if until <= taken {
                let answers = self
                    .admission
                    .claim_unseen(&subject, known, Reason::NoPicture);
                self.act(answers, made);
                continue;
            }
            let now = self.now();
            let until = now + (until - taken);
            let wall = self.wall();
            let answers = self
                .admission
                .claim(&subject, known, until, now, wall.as_ref());
            self.act(answers, made);
        }
        pipeline.claim(self.admission.claimed());
        pipeline.turn(self.admission.turning());
    }

    /// After a frame of the time `now`, which was taken at `taken`.
    pub(super) fn frame(&mut self, step: &Step, now: Duration, taken: Instant) {
        self.last = (now, Instant::now());
        if !self.admission.is_on() {
            return;
        }
        let wall = self.wall();
        let answers = self
            .admission
            .observe(&step.faces, &step.decisions, now, wall.as_ref());
        self.act(answers, taken);
    }

    /// When nothing has been seen for a while; `decisions` are on visits that ended meanwhile.
    pub(super) fn idle(&mut self, decisions: &[Decision]) {
        let answers = self.admission.idle(decisions, self.now());
        self.act(answers, Instant::now());
    }

    /// Stores the answers, and opens on what was decided by what came at `taken`.
    fn act(&mut self, answers: Vec<Answer>, taken: Instant) {
        self.remember();
        for mut answer in answers {
            if let (Ruling::Granted { .. }, Some(reason)) = (&answer.ruling, self.door.stays_shut())
            {
                answer.ruling = Ruling::Denied(reason);
            }
            let events = lock(&self.shared.maker).answer(&answer, Timestamp::now());
            let mut events = events.into_iter();
            if !matches!(answer.ruling, Ruling::Granted { .. }) {
                events.for_each(|event| self.shared.report(event));
            } else if events.all(|event| self.shared.publish(event).is_ok()) {
                self.door.open_on(taken);
            }
        }
    }

    /// At the end: answers whoever still waits, and tries once more to store what is not stored yet.
    pub(super) fn finish(&mut self, pipeline: &Pipeline) {
        self.failed = None;
        let mut answers = self.admission.end(self.now());
        while let Ok(Claimed { subject, .. }) = self.claims.try_recv() {
            let known = pipeline.gallery().knows(&subject);
            answers.extend(
                self.admission
                    .claim_unseen(&subject, known, Reason::Stopping),
            );
        }
        self.act(answers, Instant::now());
    }

    /// Stores the refusals that are not, if need be again.
    fn remember(&mut self) {
        let changes = self.admission.unstored();
        if changes.is_empty() || self.failed.is_some_and(|at| at.elapsed() < AGAIN) {
            return;
        }
        let plain = |r: Refusals| (r.count, r.wait);
        let changes: Vec<_> = changes
            .into_iter()
            .map(|(key, r)| (key, r.map(plain)))
            .collect();
        let stored = lock(&self.shared.store).remember_refusals(&changes);
        self.failed = stored.is_err().then(Instant::now);
        match stored {
            Ok(()) => self.admission.stored(),
            Err(error) => log::error!("refusals could not be stored: {error}"),
        }
    }

    /// The pipeline's time, which goes on between frames.
    pub(super) fn now(&self) -> Duration {
        self.last.0 + self.last.1.elapsed()
    }

    /// The time at the door, if the clock can be believed and the time zone is known.
    fn wall(&self) -> Option<ZonedDateTime> {
        let setup = Arc::clone(&lock(&self.shared.setup));
        if !clock_synced(setup.config.device.trust_clock) {
            return None;
        }
        let zone = setup.time_zone();
        let zone = zone.inspect_err(|error| log::error!("access: {error:#}"));
        Some(Timestamp::now().to_zoned_datetime(zone.ok()?))
    }
}

/// The refusals in the store.
pub(super) fn remembered(store: &Store) -> Result<Vec<(String, Refusals)>, StoreError> {
    let remembered = store.refusals()?.into_iter();
    let refusals = remembered.map(|(key, count, wait)| (key, Refusals { count, wait }));
    Ok(refusals.collect())
}

/// Draws as many turns as are set.
fn draw(setup: &Setup) -> Draw {
    let turns = setup.config.challenge.turns.get();
    Box::new(move || (0..turns).map(|_| draw_turn()).collect())
}

/// Chance from the system; without it always the same turn, which is still a challenge.
fn draw_turn() -> Turn {
    match getrandom::u32() {
        Ok(number) if number % 2 == 0 => Turn::Left,
        _ => Turn::Right,
    }
}
