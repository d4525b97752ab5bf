//! One connection, from the first word to the last.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    AsyncClient, IncomingPacketSizeLimit, PubAckReason, PublishNoticeError, PublishOptions,
    PublishProperties, PublishResult, QoS, SubscribeFilter, SubscribeNoticeError,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::commands::{CommandLink, Reported};
use super::connect::{client_id, last_will, options};
use super::drive::{News, drive};
use super::errands::Errands;
use super::limit::Limit;
use super::line::Goodbye;
use super::lock;
use super::message::{Message, Topics, json, message};
use super::pump::{Pump, WINDOW};
use super::refusals::{Refusals, TOO_LARGE};
use super::state::{DeviceState, Told};
use super::{Problem, Publisher, stopped};
use crate::event::VerificationEvent;

/// How often state, refused events and the broker's silence are looked after.
const TICK: Duration = Duration::from_secs(1);

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_millis(1500);

/// How long the outbox may take at the end.
const LAST_ERRAND: Duration = Duration::from_millis(500);

/// How a connection ended.
pub(super) enum End {
    /// As asked.
    Stopped,
    /// Otherwise.
    Lost(Problem),
}

/// What a publish was about, and what became of it.
type Answer = (Subject, Result<PublishResult, PublishNoticeError>);

/// What was published.
enum Subject {
    /// An event, and where it went.
    Event { event_id: String, topic: String },
    /// The device itself, or an answer: not sent again.
    Word(String),
}

/// A connection at work.
struct Session<'a> {
    client: AsyncClient,
    topics: &'a Topics,
    answers: JoinSet<Answer>,
    errands: Errands,
    refusals: Refusals,
    told: Told,
    limit: Limit,
}

/// Connects and publishes until the connection is lost or the publisher has to stop.
pub(super) async fn run(
    publisher: &mut Publisher,
    pump: &mut Pump,
    connected: &watch::Sender<bool>,
) -> End {
    let topics = Topics::new(&publisher.section, &publisher.device);
    let client_id = client_id(&publisher.section, &publisher.device);
    let goodbye = Goodbye::default();
    let mut options = match options(&publisher.section, client_id, &goodbye) {
        Ok(options) => options,
        Err(problem) => return End::Lost(problem),
    };
    options.set_last_will(last_will(&topics));
    if let Some(commands) = &publisher.commands {
        let limit = IncomingPacketSizeLimit::Bytes(commands.packet_limit());
        options.set_incoming_packet_size_limit(limit);
    }
    // Room for a window at each end of the outbox, and for words about the device itself and
    // answers.
    let (client, event_loop) = AsyncClient::builder(options)
        .capacity(2 * WINDOW as usize + 32)
        .build();
    let intake = publisher.commands.as_mut().map(|link| link.intake(&topics));
    let (sender, mut news) = mpsc::unbounded_channel();
    let mut driver = JoinSet::new();
    let address = publisher.section.address();
    driver.spawn(drive(event_loop, sender, intake, goodbye, address.clone()));
    let mut session = Session {
        client,
        topics: &topics,
        answers: JoinSet::new(),
        errands: Errands::new(Arc::clone(&publisher.outbox), Arc::clone(&publisher.clock)),
        refusals: Refusals::default(),
        told: Told::default(),
        limit: Limit::default(),
    };

    let first = tokio::select! {
        biased;
        () = stopped(&mut publisher.shutdown) => return End::Stopped,
        first = news.recv() => first,
    };
    match first {
        Some(News::Connected(limit)) => session.limit = Limit(limit),
        Some(News::Lost(problem)) => return End::Lost(problem),
        None => return End::Lost(lost(publisher, "the client has ended")),
    }
    connected.send_replace(true);
    log::info!("MQTT: connected to {address}");
    session.say("online");
    if publisher.commands.is_some() {
        session.listen();
    }

    let end = session.serve(publisher, pump, &mut news).await;
    if matches!(end, End::Stopped) {
        // The last word for the lock is to shut.
        while let Some(Ok(word)) = publisher.lock.as_mut().map(mpsc::Receiver::try_recv) {
            lock::say(&session.client, &topics.lock, &word, (publisher.clock)());
        }
        session.say("stopped");
        // The driver ends when the goodbye has been said.
        if session
            .client
            .disconnect_with_timeout(GOODBYE)
            .await
            .is_ok()
        {
            let _ = tokio::time::timeout(GOODBYE, driver.join_next()).await;
        }
    }
    driver.abort_all();
    while let Some(answer) = session.answers.try_join_next() {
        session.take(answer, pump);
    }
    // What the outbox does not hear in time is sent again.
    let _ = tokio::time::timeout(LAST_ERRAND, session.errands.finish(pump)).await;
    pump.disconnected();
    end
}

impl Session<'_> {
    async fn serve(
        &mut self,
        publisher: &mut Publisher,
        pump: &mut Pump,
        news: &mut mpsc::UnboundedReceiver<News>,
    ) -> End {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut publisher.shutdown) => return End::Stopped,
                word = lock::next(&mut publisher.lock) => {
                    lock::say(&self.client, &self.topics.lock, &word, (publisher.clock)());
                }
                word = news.recv() => match word {
                    Some(News::Connected(_)) => {}
                    Some(News::Lost(problem)) => return End::Lost(problem),
                    None => return End::Lost(lost(publisher, "the client has ended")),
                },
                Some(answer) = self.answers.join_next() => {
                    self.take(answer, pump);
                    while let Some(answer) = self.answers.try_join_next() {
                        self.take(answer, pump);
                    }
                    self.errands.run(pump);
                }
                pending = self.errands.back(pump) => {
                    if let Some(pending) = pending {
                        self.send(pending, publisher, pump);
                    }
                }
                answer = CommandLink::answer(&mut publisher.commands) => self.report(answer),
                () = publisher.wake.notified() => self.errands.run(pump),
                _ = tick.tick() => {
                    if pump.stalled(Instant::now()) {
                        return End::Lost(lost(publisher, "no acknowledgement in time"));
                    }
                    self.errands.run(pump);
                    let state = publisher.state.borrow().clone();
                    self.tell_state(&state);
                }
            }
        }
    }

    /// Publishes the state if there is news.
    fn tell_state(&mut self, state: &DeviceState) {
        if !self.told.is_due(state, Instant::now()) {
            return;
        }
        let sent = match serde_json::to_vec(state) {
            Ok(json) => self.publish_status(&self.topics.state, json, "application/json"),
            Err(error) => {
                log::error!("MQTT: the state has no JSON form: {error}");
                false
            }
        };
        if !sent {
            self.told.failed();
        }
    }

    /// Subscribes to commands. The flag of a retained one is to come with it, so that it can be
    /// refused.
    fn listen(&self) {
        let topic = self.topics.command.clone();
        let filter = SubscribeFilter {
            preserve_retain: true,
            ..SubscribeFilter::new(topic.as_str(), QoS::AtLeastOnce)
        };
        match self.client.try_subscribe_many_tracked([filter]) {
            Ok(notice) => {
                tokio::spawn(async move {
                    match notice.wait_completion_async().await {
                        Ok(()) => log::info!("MQTT: commands are taken from {topic}"),
                        Err(SubscribeNoticeError::V5SubAckFailure(_)) => log::warn!(
                            "MQTT: no commands, for the broker does not let this user read {topic}"
                        ),
                        // The connection has gone; the event loop says why.
                        Err(_) => {}
                    }
                });
            }
            Err(error) => log::warn!("MQTT: cannot subscribe to {topic}: {error}"),
        }
    }

    /// Publishes an answer. One that cannot be published is lost: its command had its time.
    fn report(&mut self, answer: Reported) {
        let (topic, payload, options) = answer.within(self.limit).into_publish();
        self.publish_word(topic, payload, options);
    }

    /// Publishes whether the device is there.
    fn say(&mut self, word: &str) {
        self.publish_status(
            &self.topics.available,
            word.as_bytes().to_vec(),
            "text/plain",
        );
    }

    fn publish_status(&mut self, topic: &str, payload: Vec<u8>, content_type: &str) -> bool {
        let properties = PublishProperties {
            content_type: Some(content_type.to_owned()),
            ..<_>::default()
        };
        let options = PublishOptions::at_least_once()
            .retained()
            .properties(properties);
        self.publish_word(topic.to_owned(), payload, options)
    }

    /// False when it is not sent.
    fn publish_word(&mut self, topic: String, payload: Vec<u8>, options: PublishOptions) -> bool {
        if !self.limit.lets(&topic, payload.len()) {
            self.refuse(&topic, TOO_LARGE);
            return false;
        }
        let sent = self
            .client
            .try_publish_tracked(topic.as_str(), payload, options);
        match sent {
            Ok(notice) => {
                let subject = Subject::Word(topic);
                self.answers
                    .spawn(async { (subject, notice.wait_async().await) });
            }
            Err(error) => {
                log::warn!("MQTT: {topic} could not be published: {error}");
                return false;
            }
        }
        true
    }

    /// Sends what waits in the outbox, as far as it is due.
    fn send(&mut self, pending: Vec<VerificationEvent>, publisher: &Publisher, pump: &mut Pump) {
        let now = Instant::now();
        for event in pump.due(pending, now) {
            let event_id = event.event_id.clone();
            let message = match message(self.topics, event, (publisher.clock)()) {
                Ok(message) => message,
                Err(error) => {
                    log::error!("MQTT: event {event_id} has no JSON form: {error}");
                    pump.refused(event_id, now);
                    continue;
                }
            };
            if !self.limit.lets(message.topic, message.payload.len()) {
                self.refusals.tell(message.topic, TOO_LARGE, true);
                pump.refused(event_id, now);
                continue;
            }
            if !self.publish_event(&event_id, message) {
                return;
            }
            pump.sent(event_id, now);
        }
    }

    /// False when the client takes no more at the moment.
    fn publish_event(&mut self, event_id: &str, message: Message<'_>) -> bool {
        let options = PublishOptions::at_least_once().properties(json(message.expiry));
        let sent = self
            .client
            .try_publish_tracked(message.topic, message.payload, options);
        let Ok(notice) = sent else { return false };
        let subject = Subject::Event {
            event_id: event_id.to_owned(),
            topic: message.topic.to_owned(),
        };
        self.answers
            .spawn(async { (subject, notice.wait_async().await) });
        true
    }

    /// Notes what became of a publish.
    fn take(&mut self, answer: Result<Answer, tokio::task::JoinError>, pump: &mut Pump) {
        let Ok((subject, result)) = answer else {
            return;
        };
        let refusal = match result {
            Ok(PublishResult::Qos1(ack)) => match ack.reason {
                PubAckReason::Success | PubAckReason::NoMatchingSubscribers => None,
                reason => Some(format!("{reason:?}")),
            },
            Ok(other) => Some(format!("{other:?}")),
            Err(PublishNoticeError::RetainNotSupported) => Some("RetainNotSupported".to_owned()),
            // The connection has gone; the event loop says why.
            Err(_) => return,
        };
        match (subject, &refusal) {
            (Subject::Event { event_id, .. }, None) => pump.acknowledged(event_id),
            (Subject::Event { event_id, topic }, Some(reason)) => {
                self.refusals.tell(&topic, reason, true);
                pump.refused(event_id, Instant::now());
            }
            (Subject::Word(topic), Some(reason)) => {
                if topic == self.topics.state {
                    self.told.failed();
                }
                self.refuse(&topic, reason);
            }
            (Subject::Word(_), None) => {}
        }
    }

    /// Tells that a word to `topic` was refused.
    fn refuse(&mut self, topic: &str, reason: &str) {
        // Whoever asks names the answer's topic: no line in the log for each.
        let answer = topic.starts_with(&self.topics.answer);
        let topic = if answer { &self.topics.answer } else { topic };
        self.refusals.tell(topic, reason, false);
    }
}

fn lost(publisher: &Publisher, detail: &str) -> Problem {
    Problem::Lost {
        address: publisher.section.address(),
        detail: detail.to_owned(),
    }
}
