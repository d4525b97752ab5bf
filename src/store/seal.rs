//! Sealing: what only the device's key can open, and only in its place.
//!
//! XChaCha20-Poly1305 with a random nonce in front. The context (what the bytes are, of whom, in
//! which row) is authenticated but not stored, so that sealed bytes that were changed, moved to
//! another row or given to another person do not open.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::key::{KeyBytes, KeyError, random};
use crate::gallery::{ModelId, Template, Turn};

const NONCE: usize = 24;
const TAG: usize = 16;

/// The device's key at work.
pub(super) struct Seal {
    key: KeyBytes,
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for Seal {
    /// Nothing of the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    pub(super) fn new(key: KeyBytes) -> Result<Self, KeyError> {
        let cipher = XChaCha20Poly1305::new((&*derive(&key, "doorward/1/seal")?).into());
        Ok(Self { key, cipher })
    }

    pub(super) fn seal(&self, plain: &[u8], context: &str) -> Result<Vec<u8>, KeyError> {
        let nonce: [u8; NONCE] = *random()?;
        let aad = context.as_bytes();
        let payload = Payload { msg: plain, aad };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| KeyError::Cipher("the encryption"))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// None when these bytes were not sealed by this key in this context.
    pub(super) fn open(&self, sealed: &[u8], context: &str) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        let aad = context.as_bytes();
        let payload = Payload { msg: sealed, aad };
        let plain = self.cipher.decrypt(&XNonce::from(*nonce), payload);
        plain.ok().map(Zeroizing::new)
    }

    /// How this device turns templates of `model` that have `size` components.
    pub(super) fn turn(&self, model: &ModelId, size: usize) -> Result<Turn, KeyError> {
        let purpose = format!("doorward/1/turn/{}/{size}", model.0);
        Ok(Turn::new(&*derive(&self.key, &purpose)?, size))
    }
}

/// A key for one purpose.
fn derive(key: &KeyBytes, purpose: &str) -> Result<KeyBytes, KeyError> {
    let mut derived = KeyBytes::default();
    Hkdf::<Sha256>::new(None, key.as_slice())
        .expand(purpose.as_bytes(), derived.as_mut_slice())
        .map_err(|_| KeyError::Cipher("the derivation of a key"))?;
    Ok(derived)
}

/// Where a template stands. A subject's name has no control characters.
pub(super) fn place(id: i64, model: &str, subject: &str) -> String {
    format!("doorward/1/template\0{id}\0{model}\0{subject}")
}

/// A template in bytes: the scale, then one byte a component.
pub(super) fn to_bytes(template: &Template) -> Zeroizing<Vec<u8>> {
    let values = template.values.iter().map(|v| v.cast_unsigned());
    Zeroizing::new(
        template
            .scale
            .to_le_bytes()
            .into_iter()
            .chain(values)
            .collect(),
    )
}

/// How long a template is when it is sealed.
pub(super) fn sealed_length(template: &Template) -> usize {
    NONCE + size_of_val(&template.scale) + template.values.len() + TAG
}

pub(super) fn from_bytes(bytes: &[u8], model: &ModelId) -> Option<Template> {
    let (scale, values) = bytes.split_first_chunk()?;
    let template = Template {
        model_id: model.clone(),
        scale: f32::from_le_bytes(*scale),
        values: values.iter().map(|v| v.cast_signed()).collect(),
    };
    (template.scale > 0.0 && !values.is_empty()).then_some(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(byte: u8) -> Seal {
        Seal::new(Zeroizing::new([byte; 32])).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_alone() {
        let sealed = seal(1).seal(b"secret", &place(1, "m", "ada")).unwrap();
        let opened = |seal: Seal, sealed: &[u8], context: String| {
            seal.open(sealed, &context).map(|plain| plain.to_vec())
        };
        let here = || place(1, "m", "ada");
        assert_eq!(opened(seal(1), &sealed, here()).unwrap(), b"secret");
        for elsewhere in [
            place(2, "m", "ada"),
            place(1, "n", "ada"),
            place(1, "m", "bo"),
        ] {
            assert_eq!(opened(seal(1), &sealed, elsewhere), None);
        }
        assert_eq!(opened(seal(2), &sealed, here()), None, "another key");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(opened(seal(1), &changed, here()), None, "byte {at}");
            assert_eq!(opened(seal(1), &sealed[..at], here()), None, "cut at {at}");
        }
        let again = seal(1).seal(b"secret", &here()).unwrap();
        assert_ne!(again, sealed, "never the same bytes twice");
    }
}
