//! The largest packet that a broker takes. One that is larger would end the connection.

/// Bytes of a packet besides topic, payload and what an answer repeats, at most.
const BESIDES: usize = 64;

/// The broker's word in the answer to a connection; none when it takes everything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limit(pub(super) Option<u32>);

impl Limit {
    /// Whether `payload` bytes may be published to `topic`.
    pub(super) fn lets(self, topic: &str, payload: usize) -> bool {
        let room = topic.len() + BESIDES;
        self.bytes().is_none_or(|limit| room + payload <= limit)
    }

    pub(super) fn bytes(self) -> Option<usize> {
        self.0
            .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
    }
}
