//! Commands on their way from the broker to whoever judges them, and the answers back.
//!
//! Nothing here believes or obeys anything. What waits is bounded in bytes: a flood costs those who
//! command time, never the device its memory.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rumqttc::{Publish, PublishOptions, PublishProperties};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::limit::Limit;
use super::message::{Topics, json};

/// Memory for commands that wait, and how many may.
const WAITING_KIB: usize = 16 << 10;
const WAITING: usize = 1024;

/// Bytes above the largest command that are still taken from the broker, to be refused by name;
/// it drops what is larger itself.
const HEADROOM: usize = 64 << 10;

/// How often it is told that commands are dropped.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// Seconds for which the broker keeps an answer.
const ANSWER_EXPIRY: u32 = 60;

/// Bytes and levels of an answer topic at most. A broker ends the connection over too many levels.
const TOPIC: usize = 256;
const LEVELS: usize = 16;

/// Bytes at most of what an answer repeats, so that it is known what a waiting command takes.
const CORRELATION: usize = 256;

/// A command as it came.
#[derive(Debug)]
pub struct Received {
    /// The bytes.
    pub payload: Vec<u8>,
    /// Whether the broker kept it.
    pub retained: bool,
    /// Where the answer goes, if one is wanted.
    pub reply: Option<Reply>,
    _room: OwnedSemaphorePermit,
}

/// Where an answer goes: always below this device's own topic.
#[derive(Clone, Debug)]
pub struct Reply {
    topic: String,
    correlation: Option<Vec<u8>>,
}

/// An answer to be published.
#[derive(Clone, Debug)]
pub struct Reported {
    /// Where to.
    pub reply: Reply,
    /// The answer as JSON.
    pub payload: Vec<u8>,
}

/// The publisher's end.
#[derive(Debug)]
pub struct CommandLink {
    largest: usize,
    sender: mpsc::Sender<Received>,
    room: Arc<Semaphore>,
    answers: mpsc::UnboundedReceiver<Reported>,
}

/// The other end, where commands are judged.
#[derive(Debug)]
pub struct CommandDesk {
    /// Commands in the order in which they came; none when the publisher has ended.
    pub received: mpsc::Receiver<Received>,
    /// For the answers.
    pub answers: mpsc::UnboundedSender<Reported>,
}

/// Both ends of a way for commands of at most `largest` bytes.
pub fn command_link(largest: usize) -> (CommandLink, CommandDesk) {
    let (sender, received) = mpsc::channel(WAITING);
    let (answers, to_publish) = mpsc::unbounded_channel();
    let link = CommandLink {
        largest,
        sender,
        room: Arc::new(Semaphore::new(WAITING_KIB)),
        answers: to_publish,
    };
    (link, CommandDesk { received, answers })
}

impl CommandLink {
    /// Bytes of a packet at most, to be told to the broker.
    pub(super) fn packet_limit(&self) -> u32 {
        u32::try_from(self.largest + HEADROOM).unwrap_or(u32::MAX)
    }

    /// For a new connection. Answers that found no connection have had their time.
    pub(super) fn intake(&mut self, topics: &Topics) -> Intake {
        while self.answers.try_recv().is_ok() {}
        Intake {
            sender: self.sender.downgrade(),
            room: Arc::clone(&self.room),
            topics: topics.clone(),
            told: Mutex::default(),
        }
    }

    /// The next answer.
    pub(super) async fn answer(link: &mut Option<Self>) -> Reported {
        let next = match link {
            Some(link) => link.answers.recv().await,
            None => None,
        };
        match next {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

/// Takes what the broker delivers, for as long as the link is there.
#[derive(Debug)]
pub(super) struct Intake {
    sender: mpsc::WeakSender<Received>,
    room: Arc<Semaphore>,
    topics: Topics,
    /// When it was last told that some were dropped.
    told: Mutex<Option<Instant>>,
}

impl Intake {
    pub(super) fn take(&self, publish: &Publish) {
        let Some(sender) = self.sender.upgrade() else {
            return;
        };
        if publish.topic != self.topics.command.as_bytes() {
            return;
        }
        let kib = u32::try_from(publish.payload.len() / 1024 + 1).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(kib) else {
            return self.too_many();
        };
        let received = Received {
            payload: publish.payload.to_vec(),
            retained: publish.retain,
            // Nobody waits for what becomes of a command that the broker kept.
            reply: reply(&self.topics, publish).filter(|_| !publish.retain),
            _room: room,
        };
        if let Err(TrySendError::Full(_)) = sender.try_send(received) {
            self.too_many();
        }
    }

    /// Says so, once a minute.
    fn too_many(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= TELL_AGAIN) {
            *told = Some(Instant::now());
            log::warn!("commands are dropped: too many wait");
        }
    }
}

/// Where the answer to `publish` goes. A device writes below its own topic alone, whatever others
/// ask for.
fn reply(topics: &Topics, publish: &Publish) -> Option<Reply> {
    let properties = publish.properties.as_ref()?;
    let topic = properties.response_topic.as_ref()?;
    let own = topic
        .strip_prefix(&topics.answer)
        .is_some_and(|rest| rest.starts_with('/') && rest.len() > 1);
    let refused = |c: char| c.is_control() || "+#".contains(c);
    let plain =
        topic.len() <= TOPIC && topic.split('/').count() <= LEVELS && !topic.contains(refused);
    let correlation = properties.correlation_data.as_ref();
    if !own || !plain || correlation.is_some_and(|data| data.len() > CORRELATION) {
        log::debug!(
            "a command gets no answer: it goes to a short topic below {}/, with at most {CORRELATION} bytes of \
             correlation data",
            topics.answer
        );
        return None;
    }
    Some(Reply {
        topic: topic.clone(),
        correlation: correlation.map(|data| data.to_vec()),
    })
}

impl Reported {
    /// This answer, or where it is larger than the broker takes, one that says so.
    pub(super) fn within(mut self, limit: Limit) -> Self {
        let correlation = self.reply.correlation.as_ref().map_or(0, Vec::len);
        let bytes = correlation + self.payload.len();
        if limit.lets(&self.reply.topic, bytes) {
            return self;
        }
        let most = limit.bytes().unwrap_or_default();
        let detail = format!(
            "the answer has {bytes} bytes, and the broker takes packets of {most} (max_packet_size)"
        );
        log::warn!("MQTT: {detail}");
        if let Ok(serde_json::Value::Object(mut answer)) = serde_json::from_slice(&self.payload) {
            answer.insert("ok".to_owned(), false.into());
            answer.insert("reason".to_owned(), "answer_too_large".into());
            answer.insert("detail".to_owned(), detail.into());
            answer.insert("result".to_owned(), serde_json::Value::Null);
            self.payload = serde_json::Value::Object(answer).to_string().into_bytes();
        }
        self
    }

    /// The topic, the payload and the options to publish it with.
    pub(super) fn into_publish(self) -> (String, Vec<u8>, PublishOptions) {
        let properties = PublishProperties {
            correlation_data: self.reply.correlation.map(Into::into),
            ..json(Some(ANSWER_EXPIRY))
        };
        let options = PublishOptions::at_least_once().properties(properties);
        (self.reply.topic, self.payload, options)
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::QoS;

    use super::*;
    use crate::config::Config;

    fn topics() -> Topics {
        let config = Config::default();
        Topics::new(&config.mqtt, &config.device.id)
    }

    fn command(bytes: usize, response_topic: Option<&str>) -> Publish {
        let properties = PublishProperties {
            response_topic: response_topic.map(str::to_owned),
            ..<_>::default()
        };
        let topic = topics().command;
        Publish::new(topic, QoS::AtLeastOnce, vec![b' '; bytes], Some(properties))
    }

    #[test]
    fn answers_go_below_the_own_topic_alone() {
        let of_length = |length| format!("{:a<length$}", "doorward/door/answer/");
        let of_levels = |levels| format!("doorward/door/answer{}", "/a".repeat(levels - 3));
        for (topic, own) in [
            ("doorward/door/answer/me", true),
            ("doorward/door/answer/a/b", true),
            (&of_length(TOPIC), true),
            (&of_length(TOPIC + 1), false),
            (&of_levels(LEVELS), true),
            (&of_levels(LEVELS + 1), false),
            ("doorward/door/answer", false),
            ("doorward/door/answer/", false),
            ("doorward/door/answers/me", false),
            ("doorward/door/event", false),
            ("doorward/other/answer/me", false),
            ("", false),
            // The broker would end the connection.
            ("doorward/door/answer/+", false),
            ("doorward/door/answer/#", false),
            ("doorward/door/answer/\0", false),
            ("doorward/door/answer/\u{1}", false),
        ] {
            let reply = reply(&topics(), &command(1, Some(topic)));
            let found = reply.as_ref().map(|reply| reply.topic.as_str());
            assert_eq!(found, own.then_some(topic));
        }
        assert!(reply(&topics(), &command(1, None)).is_none());
        for (bytes, answered) in [(CORRELATION, true), (CORRELATION + 1, false)] {
            let mut asked = command(1, Some("doorward/door/answer/me"));
            let data = Some(vec![0; bytes].into());
            asked.properties.as_mut().unwrap().correlation_data = data;
            assert_eq!(reply(&topics(), &asked).is_some(), answered);
        }
    }

    #[test]
    fn what_the_broker_kept_gets_no_answer() {
        let (mut link, mut desk) = command_link(0);
        let intake = link.intake(&topics());
        let mut kept = command(1, Some("doorward/door/answer/me"));
        for retained in [false, true] {
            kept.retain = retained;
            intake.take(&kept);
            let received = desk.received.try_recv().unwrap();
            assert_eq!(
                (received.retained, received.reply.is_none()),
                (retained, retained)
            );
        }
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_and_in_number() {
        let (mut link, mut desk) = command_link(0);
        let intake = link.intake(&topics());
        let take = |bytes, count| (0..count).for_each(|_| intake.take(&command(bytes, None)));
        let mut taken = || std::iter::from_fn(|| desk.received.try_recv().ok()).count();
        take(6 << 20, 5);
        assert_eq!(taken(), 2, "of 16 MiB");
        take(6 << 20, 5);
        assert_eq!(taken(), 2, "there is room again");
        take(1, 2 * WAITING);
        assert_eq!(taken(), WAITING);
    }

    #[test]
    fn answers_that_found_no_connection_are_dropped() {
        let (mut link, desk) = command_link(0);
        let reply = reply(&topics(), &command(1, Some("doorward/door/answer/me"))).unwrap();
        let payload = b"{}".to_vec();
        desk.answers.send(Reported { reply, payload }).unwrap();
        link.intake(&topics());
        assert!(link.answers.try_recv().is_err());
    }

    #[test]
    fn an_answer_that_is_too_large_gives_way_to_one_that_says_so() {
        let whole = serde_json::json!({
            "schema": "s", "id": "1", "ok": true, "reason": "obeyed", "detail": "",
            "result": "x".repeat(5000),
        });
        let within = |limit| {
            let reply = Reply {
                topic: "doorward/front/answer/me".to_owned(),
                correlation: Some(vec![0; 4]),
            };
            let payload = whole.to_string().into_bytes();
            let answer = Reported { reply, payload }.within(Limit(limit));
            serde_json::from_slice::<serde_json::Value>(&answer.payload).unwrap()
        };
        assert_eq!(within(None), whole);
        assert_eq!(within(Some(6000)), whole);
        let short = within(Some(5000));
        assert_eq!((&short["id"], &short["ok"]), (&whole["id"], &false.into()));
        assert_eq!(short["reason"], "answer_too_large");
        let detail = short["detail"].as_str().unwrap();
        let bytes = (whole.to_string().len() + 4).to_string();
        assert!(
            detail.contains(&bytes) && detail.contains("5000"),
            "{detail}"
        );
    }
}
