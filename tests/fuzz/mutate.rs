//! Changes of something that was right.

use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Clone, Debug)]
enum Change {
    /// A bit is another.
    Flip(Index, u8),
    /// A byte is another; the ends of its range more often than the rest.
    Set(Index, u8),
    /// The rest is missing.
    Cut(Index),
    /// A part is missing.
    Remove(Index, Index),
    /// A part is there again elsewhere.
    Copy(Index, Index, Index),
    /// Something is in between.
    Insert(Index, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let byte = || prop_oneof![Just(0), Just(0xff), Just(0x7f), Just(b'9'), any::<u8>()];
    prop_oneof![
        4 => (at(), 0..8u8).prop_map(|(i, bit)| Change::Flip(i, bit)),
        4 => (at(), byte()).prop_map(|(i, value)| Change::Set(i, value)),
        1 => at().prop_map(Change::Cut),
        1 => (at(), at()).prop_map(|(i, j)| Change::Remove(i, j)),
        1 => (at(), at(), at()).prop_map(|(i, j, to)| Change::Copy(i, j, to)),
        1 => (at(), prop::collection::vec(byte(), 1..32)).prop_map(|(i, v)| Change::Insert(i, v)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    let part = |i: &Index, j: &Index| {
        let (i, j) = (i.index(length), j.index(length));
        // Not so much that nothing of the rest is reached.
        i..j.clamp(i, (i + 4096).min(length))
    };
    match change {
        Change::Flip(i, bit) => bytes[i.index(length)] ^= 1 << bit,
        Change::Set(i, value) => bytes[i.index(length)] = *value,
        Change::Cut(i) => bytes.truncate(i.index(length)),
        Change::Remove(i, j) => drop(bytes.drain(part(i, j))),
        Change::Copy(i, j, to) => {
            let copied = bytes[part(i, j)].to_vec();
            let at = to.index(length);
            bytes.splice(at..at, copied);
        }
        Change::Insert(i, values) => {
            let at = i.index(length);
            bytes.splice(at..at, values.iter().copied());
        }
    }
}

/// `whole` after one to six changes.
pub(crate) fn mutated(whole: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(change(), 1..=6).prop_map(move |changes| {
        let mut bytes = whole.clone();
        changes.iter().for_each(|change| apply(&mut bytes, change));
        bytes
    })
}
