//! The chain through the audit trail: each line is bound to the one before it by a keyed hash.
//!
//! Without the key nobody can write a line, change one or close the gap of one that was taken out.
//! The two ends are kept apart and bound too: the *anchor* is the last line that pruning took, the
//! *head* the newest. What the chain cannot show is a whole database put back from an older copy.
//!
//! Names are bound through a keyed hash of their own, the *veil*. A person who is removed leaves
//! the veil in the place of the name, and the chain stays as it was.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::seal::Seal;

/// A link: HMAC-SHA-256.
pub(super) type Link = [u8; 32];

/// What stands in front of a veil; no name can contain it.
const VEIL: char = '#';

/// The fields of an event that hold names.
const NAMES: [&str; 2] = ["\"subject_id\":\"", "\"claimed_id\":\""];

/// One line as stored.
pub(super) struct Line<'a> {
    pub(super) seq: i64,
    pub(super) event_id: &'a str,
    pub(super) ts: i64,
    pub(super) clock_synced: bool,
    pub(super) json: &'a str,
}

/// The chain's key, which is no device key: it is sealed by that and stays when that changes.
pub(super) struct Chain {
    key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Chain {
    /// Nothing of the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chain")
    }
}

impl Chain {
    /// The name of the key's row, which is also the context that it is sealed in.
    pub(super) const SECRET: &'static str = "doorward/1/audit";

    /// None when the key was not sealed by `seal`.
    pub(super) fn open(seal: &Seal, sealed: &[u8]) -> Option<Self> {
        let key = seal.open(sealed, Self::SECRET)?;
        Some(Self { key })
    }

    /// The chain's key for another device key.
    pub(super) fn sealed(&self, seal: &Seal) -> Result<Vec<u8>, super::KeyError> {
        seal.seal(&self.key, Self::SECRET)
    }

    /// The link of `line` to the one before it.
    pub(super) fn link(&self, previous: &Link, line: &Line<'_>) -> Link {
        let veiled = replace_names(line.json, |name| Some(self.veil(line.event_id, name)));
        let mut mac = self.mac("line");
        mac.update(previous);
        mac.update(&line.seq.to_le_bytes());
        mac.update(&line.ts.to_le_bytes());
        mac.update(&[line.clock_synced.into()]);
        mac.update(line.event_id.as_bytes());
        mac.update(b"\0");
        mac.update(veiled.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// What proves that an end of the chain is where it was left.
    pub(super) fn mark(&self, end: &str, seq: i64, link: &Link) -> Link {
        let mut mac = self.mac(end);
        mac.update(&seq.to_le_bytes());
        mac.update(link);
        mac.finalize().into_bytes().into()
    }

    /// What stands for a name in one event; in another event the same name has another veil.
    fn veil(&self, event_id: &str, name: &str) -> String {
        let mut mac = self.mac("name");
        mac.update(event_id.as_bytes());
        mac.update(b"\0");
        mac.update(name.as_bytes());
        let hash = mac.finalize().into_bytes();
        let digits = hash.iter().take(16).map(|byte| format!("{byte:02x}"));
        std::iter::once(VEIL.to_string()).chain(digits).collect()
    }

    /// The JSON of an event with the names veiled for which `gone` holds.
    pub(super) fn without<'a>(
        &self,
        event_id: &str,
        json: &'a str,
        mut gone: impl FnMut(&str) -> bool,
    ) -> Cow<'a, str> {
        replace_names(json, |name| gone(name).then(|| self.veil(event_id, name)))
    }

    fn mac(&self, purpose: &str) -> Hmac<Sha256> {
        // HMAC takes a key of any length.
        #[expect(clippy::expect_used, reason = "cannot fail")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any length");
        mac.update(purpose.as_bytes());
        mac.update(b"\0");
        mac
    }
}

/// A name as it stands between the quotes of an event's JSON.
pub(super) fn escaped(name: &str) -> String {
    let quoted = serde_json::Value::from(name).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Replaces names by what `with` says, and leaves all else as it is, byte for byte.
///
/// Quotes within a JSON string are escaped, so that a field's name with its quotes is that field
/// and nothing else.
fn replace_names(json: &str, mut with: impl FnMut(&str) -> Option<String>) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(begin) = next_name(json, at) {
        let end = begin + string_end(&json[begin..]);
        at = end;
        let name = &json[begin..end];
        if name.starts_with(VEIL) {
            continue;
        }
        if let Some(other) = with(name) {
            out.push_str(&json[copied..begin]);
            out.push_str(&other);
            copied = end;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(&json[copied..]);
    Cow::Owned(out)
}

/// Where the next name after `at` begins.
fn next_name(json: &str, at: usize) -> Option<usize> {
    let of = |field: &&str| json[at..].find(field).map(|found| at + found + field.len());
    NAMES.iter().filter_map(of).min()
}

/// Where a string ends: at the first quote that is not escaped.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let quote = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        quote
    });
    end.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Chain {
        Chain {
            key: Zeroizing::new(vec![1; 32]),
        }
    }

    fn link(previous: u8, seq: i64, json: &str) -> Link {
        let line = Line {
            seq,
            event_id: "E",
            ts: 7,
            clock_synced: true,
            json,
        };
        chain().link(&[previous; 32], &line)
    }

    #[test]
    fn a_link_depends_on_everything_before_it() {
        let json = r#"{"subject_id":"Ada","reason":"recognised"}"#;
        assert_eq!(link(0, 1, json), link(0, 1, json));
        assert_ne!(link(1, 1, json), link(0, 1, json));
        assert_ne!(link(0, 2, json), link(0, 1, json));
        let line = |event_id, ts, clock_synced| {
            let line = Line {
                seq: 1,
                event_id,
                ts,
                clock_synced,
                json: "{}",
            };
            chain().link(&[0; 32], &line)
        };
        assert_eq!(line("E", 7, true), link(0, 1, "{}"));
        for other in [line("F", 7, true), line("E", 8, true), line("E", 7, false)] {
            assert_ne!(other, link(0, 1, "{}"));
        }
        assert_ne!(link(0, 1, &json.replace("Ada", "Eve")), link(0, 1, json));
        assert_ne!(
            link(0, 1, &json.replace("recognised", "forced")),
            link(0, 1, json)
        );
    }

    #[test]
    fn a_veiled_name_leaves_the_link_as_it_was() {
        let tricky = "A\"d\\a\", \"subject_id\":\"x";
        let json = serde_json::json!({
            "claimed_id": "Bo",
            "reason": "\"subject_id\":\"Ada\"",
            "runner_up": { "similarity": 0.1, "subject_id": "Bo" },
            "subject_id": tricky,
        });
        let json = json.to_string();
        let gone = |name: &str| {
            chain()
                .without("E", &json, |n| n == escaped(name))
                .into_owned()
        };
        let without_bo = gone("Bo");
        assert!(!without_bo.contains("Bo") && without_bo.contains(&escaped(tricky)));
        let without_tricky = gone(tricky);
        let read: serde_json::Value = serde_json::from_str(&without_tricky).unwrap();
        assert!(read["subject_id"].as_str().unwrap().starts_with('#'));
        assert_eq!(read["claimed_id"], "Bo");
        assert_eq!(
            read["reason"], "\"subject_id\":\"Ada\"",
            "no field, only a text"
        );
        assert_eq!(gone("Ada"), json);
        for erased in [without_bo, without_tricky] {
            assert_eq!(link(0, 1, &erased), link(0, 1, &json));
        }
    }
}
