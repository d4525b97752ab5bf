//! What the broker refuses, told once on a connection for each topic and reason.

use std::collections::HashSet;

/// The reason for what is larger than the broker takes.
pub(super) const TOO_LARGE: &str = "PacketTooLarge";

/// What has been told.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashSet<(String, String)>);

impl Refusals {
    /// Logs that a message to `topic` was refused, unless that has been told. `stays` says that it
    /// will be sent again.
    pub(super) fn tell(&mut self, topic: &str, reason: &str, stays: bool) {
        if let Some(complaint) = self.complaint(topic, reason, stays) {
            log::warn!("MQTT: {complaint}");
        }
    }

    fn complaint(&mut self, topic: &str, reason: &str, stays: bool) -> Option<String> {
        let news = self.0.insert((topic.to_owned(), reason.to_owned()));
        let advice = match reason {
            "NotAuthorized" => "the broker's access list has to let this user write there",
            "QuotaExceeded" => "the broker's quota for this user is used up",
            TOO_LARGE => "the broker's limit for packets (max_packet_size) has to be raised",
            _ => "the broker's log says more",
        };
        let then = if stays {
            "; events stay in the outbox and are sent again later"
        } else {
            ""
        };
        news.then(|| format!("the broker refuses {topic} ({reason}): {advice}{then}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_is_told_once_for_each_reason() {
        let mut refusals = Refusals::default();
        for (topic, reason, stays) in [
            ("door/audit", "NotAuthorized", true),
            ("door/event", "NotAuthorized", true),
            ("door/event", "QuotaExceeded", true),
            ("door/state", "NotAuthorized", false),
        ] {
            let complaint = refusals.complaint(topic, reason, stays).unwrap();
            assert!(complaint.contains(&format!("refuses {topic} ({reason})")));
            assert_eq!(complaint.contains("sent again"), stays, "{complaint}");
            assert_eq!(refusals.complaint(topic, reason, stays), None);
        }
    }
}
