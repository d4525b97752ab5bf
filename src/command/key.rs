//! The key that devices and their owners share.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes of a block of SHA-256, to which HMAC fills up a shorter key with zeros.
const BLOCK: usize = 64;

/// 32 random bytes. They are wiped when no longer needed, and never shown.
#[derive(Clone)]
pub struct CommandKey(Zeroizing<[u8; 32]>);

impl CommandKey {
    /// Takes the bytes.
    pub fn new(bytes: impl Into<Zeroizing<[u8; 32]>>) -> Self {
        Self(bytes.into())
    }

    /// Begins a HMAC-SHA-256.
    pub(super) fn mac(&self) -> Hmac<Sha256> {
        let mut block = Zeroizing::new([0; BLOCK]);
        block[..self.0.len()].copy_from_slice(&*self.0);
        Hmac::new((&*block).into())
    }
}

impl std::fmt::Debug for CommandKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CommandKey")
    }
}

/// The MAC of all that was fed into `mac`.
pub(super) fn finish(mac: Hmac<Sha256>) -> [u8; 32] {
    mac.finalize().into_bytes().into()
}

/// Compares in a time that says nothing of where the two differ.
pub(super) fn agrees(mac: Hmac<Sha256>, expected: &[u8; 32]) -> bool {
    mac.verify_slice(expected).is_ok()
}

/// `bytes` as lower-case hexadecimal digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
    bytes
        .iter()
        .flat_map(|&byte| [digit(byte >> 4), digit(byte)])
        .collect()
}

/// Exactly `N` bytes from lower-case hexadecimal digits. One value has one spelling.
pub(super) fn from_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let digits = digits.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_is_that_of_the_standard() {
        // RFC 4231, test case 2, has a key of 4 bytes; HMAC fills it up with zeros as ours.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mut mac = CommandKey::new(key).mac();
        mac.update(b"what do ya want for nothing?");
        assert_eq!(
            to_hex(&finish(mac)),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn hexadecimal_has_one_spelling() {
        assert_eq!(from_hex("00ff7a"), Some([0, 255, 0x7a]));
        for wrong in ["00FF7a", "00ff7", "00ff7aa", "00ff7g", "+0ff7a", "é0ff7"] {
            assert_eq!(from_hex::<3>(wrong), None, "{wrong}");
        }
        assert_eq!(to_hex(&[0, 255, 0x7a]), "00ff7a");
    }
}
