//! The commands thread: judges what came over MQTT, has it obeyed, answers, and keeps the record.
//!
//! It believes nothing that [`Judge`] has not let through, and remembers a command's nonce on the
//! disk before it is obeyed: a crash in between costs the sender an answer, never a second opening.
//! What takes long (pictures, enrolments, removals) is done by a thread of its own, one after the other, so
//! that a door that is to be opened does not wait for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::Result;
use jiff::Timestamp;
use log::Level;
use tokio::sync::{Notify, mpsc};

use super::events::clock_synced;
use super::executor::{Done, Executor, Failure};
use super::quota::Quota;
use super::shared::{Shared, lock};
use super::threads::spawn;
use crate::camera::StopClock as _;
use crate::command::{
    Action, Answer, Command, CommandKey, Judge, MAX_MESSAGE, Moment, Proof, Refusal, Refused,
};
use crate::event::CommandFields;
use crate::mqtt::{CommandDesk, CommandLink, Received, Reply, Reported, command_link};
use crate::setup::Setup;
use crate::store::Seen;

/// Commands that may wait for one that takes long.
const WAITING: usize = 8;

/// A command that another thread obeys.
struct Job {
    id: String,
    action: Action,
    reply: Option<Reply>,
}

/// Judges and answers.
struct Commander {
    shared: Arc<Shared>,
    executor: Arc<Executor>,
    clerk: Clerk,
    judge: Judge,
    begun: Instant,
    quota: Quota,
    jobs: SyncSender<Job>,
}

/// Obeys what takes long.
struct Worker {
    executor: Arc<Executor>,
    clerk: Clerk,
    jobs: Receiver<Job>,
}

/// Commands that are to be taken.
pub(super) struct Desk {
    desk: CommandDesk,
    key: CommandKey,
    device: String,
}

/// The way for commands, where there is a key for them and a broker.
///
/// # Errors
/// A key that cannot be used.
pub(super) fn open(setup: &Setup, mqtt: bool) -> Result<(Option<CommandLink>, Option<Desk>)> {
    let Some(key) = setup.command_key()?.filter(|_| mqtt) else {
        return Ok((None, None));
    };
    let (link, desk) = command_link(MAX_MESSAGE);
    let desk = Desk {
        desk,
        key,
        device: setup.config.device.id.as_str().to_owned(),
    };
    Ok((Some(link), Some(desk)))
}

impl Desk {
    /// Starts the two threads, which end when the publisher has ended.
    ///
    /// # Errors
    /// A thread that cannot be started.
    pub(super) fn start(
        self,
        executor: Executor,
        ended: &Arc<Notify>,
    ) -> Result<Vec<JoinHandle<Result<()>>>> {
        let Self {
            desk: CommandDesk { received, answers },
            key,
            device,
        } = self;
        let shared = Arc::clone(&executor.shared);
        let executor = Arc::new(executor);
        let judge = Judge::new(&device, key);
        let clerk = Clerk {
            shared: Arc::clone(&shared),
            device,
            answers,
        };
        let (sender, jobs) = sync_channel(WAITING);
        let worker = Worker {
            executor: Arc::clone(&executor),
            clerk: clerk.clone(),
            jobs,
        };
        let begun = Instant::now();
        let commander = Commander {
            shared,
            executor,
            clerk,
            judge,
            begun,
            quota: Quota::new(begun.elapsed()),
            jobs: sender,
        };
        Ok(vec![
            spawn("commands", ended, move || commander.run(received))?,
            spawn("worker", ended, move || worker.run())?,
        ])
    }
}

impl Commander {
    /// Takes commands until no more can come.
    ///
    /// # Errors
    /// No random numbers.
    fn run(mut self, mut received: mpsc::Receiver<Received>) -> Result<()> {
        while let Some(received) = received.blocking_recv() {
            if self.shared.stop.is_stopped() {
                // Nobody can be told any more what became of it, so nothing does.
                break;
            }
            match self.judge(&received)? {
                Ok(Command { id, action, .. }) => self.obey(Job {
                    id,
                    action,
                    reply: received.reply,
                }),
                Err(refused) => self.refuse(refused, received.reply),
            }
        }
        Ok(())
    }

    fn judge(&mut self, received: &Received) -> Result<Result<Command, Refused>> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let now = Timestamp::now();
        let trusted = lock(&self.shared.setup).config.device.trust_clock;
        let moment = Moment {
            now: clock_synced(trusted).then_some(now),
            uptime: self.begun.elapsed(),
            random,
        };
        let judged = self
            .judge
            .judge(&received.payload, received.retained, &moment);
        let command = match judged {
            Ok(command) => command,
            Err(refused) => return Ok(Err(refused)),
        };
        let Proof::Time { nonce, expires_at } = command.proof else {
            return Ok(Ok(command));
        };
        let reason = match lock(&self.shared.store).take_nonce(&nonce, expires_at, now) {
            // Writing it down may have taken until its time was over.
            Ok(Seen::Never) if Timestamp::now() < expires_at => return Ok(Ok(command)),
            Ok(Seen::Never) => Refusal::Stale(Timestamp::now().duration_since(expires_at)),
            // With a clock that was set back nobody knows.
            Ok(Seen::Before | Seen::Forgotten) => Refusal::Replayed,
            Err(error) => {
                log::error!("a command could not be noted and is not obeyed: {error}");
                Refusal::NotNoted
            }
        };
        Ok(Err(command.refused(reason)))
    }

    fn obey(&mut self, job: Job) {
        if !job.action.takes_long() {
            let outcome = self.executor.obey(&job.id, &job.action);
            return self.clerk.close(&job, outcome);
        }
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) =
            self.jobs.try_send(job)
        {
            let busy = Failure::new("busy", "the device is still at the one before; try again");
            self.clerk.close(&job, Err(busy));
        }
    }

    fn refuse(&mut self, refused: Refused, reply: Option<Reply>) {
        let Refused {
            reason,
            id,
            action,
            signed,
            challenge,
        } = refused;
        let word = reason.word();
        let name = id.as_deref().unwrap_or("-");
        if reason == Refusal::ChallengeNeeded {
            log::info!("command {name} gets a challenge");
        } else {
            self.shared.state.send_modify(|s| s.commands_refused += 1);
            let noted = self.quota.take(self.begun.elapsed());
            let level = if noted { Level::Warn } else { Level::Debug };
            log::log!(level, "command {name} is refused ({word}): {reason}");
            if noted {
                let command = id.clone().filter(|_| signed).map(|id| CommandFields {
                    id,
                    action: action.map(str::to_owned),
                });
                note(&self.shared, word, command);
            }
        }
        let answer = Answer::not(&self.clerk.device, id, word, reason.to_string());
        self.clerk.answer(reply, &answer.with_challenge(challenge));
    }
}

impl Worker {
    /// Obeys until no more can come.
    #[expect(clippy::unnecessary_wraps, reason = "as every thread's work")]
    fn run(self) -> Result<()> {
        for job in &self.jobs {
            let outcome = if self.executor.shared.stop.is_stopped() {
                Err(Failure::new("stopping", "doorward is stopping"))
            } else {
                self.executor.obey(&job.id, &job.action)
            };
            self.clerk.close(&job, outcome);
        }
        Ok(())
    }
}

/// Puts on record what became of a command.
fn note(shared: &Shared, word: &str, command: Option<CommandFields>) {
    let event = lock(&shared.maker).command(word, command, Timestamp::now());
    shared.report(event);
}

/// Writes down what became of a command, and tells whoever sent it.
#[derive(Clone)]
struct Clerk {
    shared: Arc<Shared>,
    device: String,
    answers: mpsc::UnboundedSender<Reported>,
}

impl Clerk {
    fn close(&self, job: &Job, outcome: Result<Done, Failure>) {
        let (id, action) = (&job.id, job.action.word());
        let (word, answer) = match outcome {
            Ok(Done { detail, result }) => {
                log::info!("command {id} ({action}) is obeyed: {detail}");
                let answer = Answer::obeyed(&self.device, id, detail, result);
                ("obeyed", answer)
            }
            Err(Failure { word, detail }) => {
                log::warn!("command {id} ({action}) cannot be obeyed ({word}): {detail}");
                let answer = Answer::not(&self.device, Some(id.clone()), word, detail);
                (word, answer)
            }
        };
        let command = CommandFields {
            id: id.clone(),
            action: Some(action.to_owned()),
        };
        note(&self.shared, word, Some(command));
        self.answer(job.reply.clone(), &answer);
    }

    fn answer(&self, reply: Option<Reply>, answer: &Answer) {
        let Some(reply) = reply else { return };
        match serde_json::to_vec(answer) {
            // Without a connection nobody waits for it.
            Ok(payload) => drop(self.answers.send(Reported { reply, payload })),
            Err(error) => log::error!("an answer has no JSON form: {error}"),
        }
    }
}
