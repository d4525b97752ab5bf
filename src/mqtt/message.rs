//! From an event to what goes over the wire, and where to.

use jiff::{SignedDuration, Timestamp};
use rumqttc::PublishProperties;

use crate::config::{DeviceId, MqttSection};
use crate::event::{Verdict, VerificationEvent};

/// How far the clock may step back before an event counts as out of its time.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(1);

/// An event that is older than this is no news any more, whatever it says.
const NEWS: SignedDuration = SignedDuration::from_mins(1);

/// The topics of one device.
#[derive(Clone, Debug)]
pub(super) struct Topics {
    pub(super) available: String,
    pub(super) state: String,
    pub(super) event: String,
    pub(super) audit: String,
    pub(super) lock: String,
    pub(super) command: String,
    /// Answers go below it.
    pub(super) answer: String,
}

impl Topics {
    pub(super) fn new(section: &MqttSection, device: &DeviceId) -> Self {
        let topic = |leaf| format!("{}/{}/{leaf}", section.base.as_str(), device.as_str());
        Self {
            available: topic("available"),
            state: topic("state"),
            event: topic("event"),
            audit: topic("audit"),
            lock: topic("lock"),
            command: topic("command"),
            answer: topic("answer"),
        }
    }
}

/// One event, ready to be published. It is never retained.
#[derive(Debug, PartialEq)]
pub(super) struct Message<'a> {
    pub(super) topic: &'a str,
    pub(super) payload: Vec<u8>,
    /// Seconds after which the broker has to forget it.
    pub(super) expiry: Option<u32>,
}

/// The message of `event` at the time `now`: on the event topic while it is news and, if it opens
/// something, has not expired; otherwise on the audit topic and marked as replayed.
pub(super) fn message<'a>(
    topics: &'a Topics,
    mut event: VerificationEvent,
    now: Timestamp,
) -> Result<Message<'a>, serde_json::Error> {
    let (topic, expiry) = match time_left(&event, now) {
        TimeLeft::Unlimited => (&topics.event, None),
        TimeLeft::Seconds(seconds) => (&topics.event, Some(seconds)),
        TimeLeft::None => {
            event.replayed = true;
            (&topics.audit, None)
        }
    };
    Ok(Message {
        topic,
        payload: serde_json::to_vec(&event)?,
        expiry,
    })
}

/// Properties of a payload in JSON, which the broker has to forget after `expiry` seconds.
pub(super) fn json(expiry: Option<u32>) -> PublishProperties {
    PublishProperties {
        content_type: Some("application/json".to_owned()),
        payload_format_indicator: Some(1),
        message_expiry_interval: expiry,
        ..<_>::default()
    }
}

enum TimeLeft {
    Unlimited,
    Seconds(u32),
    None,
}

/// Whether the event has just happened. One whose time cannot be read, or lies ahead because the clock has been
/// set back, has not.
pub(super) fn is_news(event: &VerificationEvent, now: Timestamp) -> bool {
    event.ts.parse::<Timestamp>().is_ok_and(|ts| {
        let age = now.duration_since(ts);
        age <= NEWS && -age <= CLOCK_STEP
    })
}

/// How long the event may still be acted on. In doubt (it is no news, or an accept without an end) it may not.
fn time_left(event: &VerificationEvent, now: Timestamp) -> TimeLeft {
    if !is_news(event, now) {
        return TimeLeft::None;
    }
    let end = match (&event.expires_at, event.decision) {
        (None, Verdict::Accept) => return TimeLeft::None,
        (None, Verdict::Reject | Verdict::Inconclusive) => return TimeLeft::Unlimited,
        (Some(end), _) => end.parse::<Timestamp>(),
    };
    let Some(end) = end.ok().filter(|end| now < *end) else {
        return TimeLeft::None;
    };
    // Rounded up to the whole seconds that MQTT counts; the payload has the exact time.
    let seconds = (end.duration_since(now).as_millis() + 999) / 1000;
    TimeLeft::Seconds(seconds.try_into().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::event::sample;

    const TS: &str = "2026-03-01T12:00:00Z";

    /// An event of `decision`, good until `expires_at`, dequeued at `now`, goes out with
    /// `expected` seconds to live or, for `None`, to the audit topic.
    fn check(
        decision: Verdict,
        expires_at: Option<&str>,
        now: &str,
        expected: Option<Option<u32>>,
    ) {
        let config = Config::default();
        let topics = Topics::new(&config.mqtt, &config.device.id);
        let expires_at = expires_at.map(str::to_owned);
        let event = VerificationEvent {
            ts: TS.to_owned(),
            decision,
            expires_at,
            ..sample(1)
        };
        let message = message(&topics, event, now.parse().unwrap()).unwrap();
        let sent: VerificationEvent = serde_json::from_slice(&message.payload).unwrap();
        let topic = if expected.is_some() {
            "doorward/door/event"
        } else {
            "doorward/door/audit"
        };
        assert_eq!(message.topic, topic, "{now}");
        assert_eq!(sent.replayed, expected.is_none(), "{now}");
        assert_eq!(message.expiry, expected.flatten(), "{now}");
    }

    #[test]
    fn an_accept_is_good_until_it_expires_and_never_in_doubt() {
        let accept = |end, now, expected| check(Verdict::Accept, end, now, expected);
        let end = Some("2026-03-01T12:00:05Z");
        accept(end, TS, Some(Some(5)));
        accept(end, "2026-03-01T12:00:00.25Z", Some(Some(5)));
        accept(end, "2026-03-01T12:00:04.999Z", Some(Some(1)));
        accept(end, "2026-03-01T12:00:05Z", None);
        accept(end, "2027-03-01T12:00:00Z", None);
        // The clock was set back a little, and by more.
        accept(end, "2026-03-01T11:59:59.5Z", Some(Some(6)));
        accept(end, "2026-03-01T11:59:58Z", None);
        accept(Some("soon"), TS, None);
        accept(None, TS, None);
    }

    #[test]
    fn nothing_is_news_after_a_minute() {
        for decision in [Verdict::Reject, Verdict::Inconclusive] {
            check(decision, None, TS, Some(None));
            check(decision, None, "2026-03-01T12:01:00Z", Some(None));
            check(decision, None, "2026-03-01T12:01:01Z", None);
            check(decision, None, "2027-03-01T12:00:00Z", None);
            check(decision, None, "2026-03-01T11:59:58Z", None);
        }
        let end = Some("2026-03-01T13:00:00Z");
        check(Verdict::Accept, end, "2026-03-01T12:01:01Z", None);
    }
}
