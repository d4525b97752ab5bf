//! Events in the log, with fields that the journal can be searched by:
//! `journalctl -u doorward EVENT_TYPE=match`. Never an embedding.
//!
//! Speaks the journal's own protocol where standard error is the journal, because the fields
//! would be lost there, and logs as usual elsewhere.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;

use crate::event::VerificationEvent;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Whether standard error is the journal. systemd says which device and inode are; the variable alone
/// says nothing, because a terminal inherits it.
pub fn stderr_is_journal() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|journal| {
        std::fs::metadata("/proc/self/fd/2")
            .is_ok_and(|file| journal == format!("{}:{}", file.dev(), file.ino()))
    })
}

/// Writes down an event that is stored.
pub(super) fn write(event: &VerificationEvent, camera: &str) {
    let fields = fields(event, camera);
    let message = &fields[0].1;
    if !stderr_is_journal() || send(&fields).is_err() {
        log::info!("{message}");
    }
}

/// The message first.
fn fields(event: &VerificationEvent, camera: &str) -> Vec<(&'static str, String)> {
    let kind = event.event_type.word();
    let decision = event.decision.word();
    let subject = event.subject_id.as_deref().unwrap_or("-");
    let reasons = event.reasons.join(", ");
    let mut fields = vec![
        (
            "MESSAGE",
            format!("{kind} {subject}: {decision} ({reasons})"),
        ),
        ("PRIORITY", "6".to_owned()),
        ("SYSLOG_IDENTIFIER", "doorward".to_owned()),
        ("EVENT_ID", event.event_id.clone()),
        ("EVENT_TYPE", kind),
        ("DECISION", decision),
        ("CAMERA", camera.to_owned()),
    ];
    fields.extend(event.subject_id.clone().map(|subject| ("SUBJECT", subject)));
    fields.extend(event.similarity.map(|s| ("SIMILARITY", s.to_string())));
    fields
}

fn send(fields: &[(&str, String)]) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to(&datagram(fields), SOCKET)?;
    Ok(())
}

/// Name, end of line, length in eight bytes, value, end of line: fit for a value of any bytes.
fn datagram(fields: &[(&str, String)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample;

    #[test]
    fn a_value_cannot_pose_as_a_field() {
        let event = sample(7);
        let fields = fields(&event, "/dev/door\nDECISION=accept");
        let bytes = datagram(&fields);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("CAMERA\n\u{19}\0\0\0\0\0\0\0/dev/door\nDECISION=accept\n"));
        assert!(text.contains("DECISION\n\u{c}\0\0\0\0\0\0\0inconclusive\n"));
        assert!(fields.iter().all(|(name, _)| *name != "SIMILARITY"));
    }
}
