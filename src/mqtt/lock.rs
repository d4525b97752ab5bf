//! Words for a lock: said at once or never.

use jiff::Timestamp;
use rumqttc::{AsyncClient, PublishOptions};
use tokio::sync::mpsc;

use super::message::json;
use crate::event::{LockAction, LockWord};

/// Seconds after which the broker has to forget a word.
const EXPIRY: u32 = 2;

/// The next word; waits for ever when no lock is configured.
pub(super) async fn next(words: &mut Option<mpsc::Receiver<LockWord>>) -> LockWord {
    if let Some(words) = words
        && let Some(word) = words.recv().await
    {
        return word;
    }
    std::future::pending().await
}

/// Publishes a word at the time `now`: at most once and not retained. A word to open that has
/// waited for the connection is dropped.
pub(super) fn say(client: &AsyncClient, topic: &str, word: &LockWord, now: Timestamp) {
    if is_late(word, now) {
        return log::warn!("MQTT: a word to open the lock came too late and is not sent");
    }
    let payload = match serde_json::to_vec(word) {
        Ok(payload) => payload,
        Err(error) => return log::error!("MQTT: a word for the lock has no JSON form: {error}"),
    };
    let options = PublishOptions::at_most_once().properties(json(Some(EXPIRY)));
    if let Err(error) = client.try_publish(topic, payload, options) {
        log::warn!("MQTT: {topic} could not be published: {error}");
    }
}

/// In doubt a word to open is late. Shutting is never late.
fn is_late(word: &LockWord, now: Timestamp) -> bool {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let end = word.expires_at.as_deref().and_then(time);
    let good = match (time(&word.issued_at), end) {
        (Some(issued), Some(end)) => issued <= now && now < end,
        _ => false,
    };
    word.action == LockAction::Open && !good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_to_open_is_good_until_it_expires() {
        let word = |action, expires_at: Option<&str>| LockWord {
            action,
            issued_at: "2026-03-01T12:00:00Z".to_owned(),
            expires_at: expires_at.map(str::to_owned),
            pulse_s: None,
        };
        let open = |end| word(LockAction::Open, end);
        let end = Some("2026-03-01T12:00:02Z");
        for (word, now, late) in [
            (open(end), "2026-03-01T12:00:00Z", false),
            (open(end), "2026-03-01T12:00:01.9Z", false),
            (open(end), "2026-03-01T12:00:02Z", true),
            // The clock was set back.
            (open(end), "2026-03-01T11:59:00Z", true),
            (open(None), "2026-03-01T12:00:00Z", true),
            (open(Some("soon")), "2026-03-01T12:00:00Z", true),
            (word(LockAction::Shut, None), "2027-03-01T12:00:00Z", false),
        ] {
            assert_eq!(is_late(&word, now.parse().unwrap()), late, "{word:?} {now}");
        }
    }
}
