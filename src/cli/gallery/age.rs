//! A file that a passphrase opens, in the format of age (age-encryption.org/v1).
//!
//! Only what a passphrase needs: one scrypt recipient, no armour. `age --decrypt` reads what is
//! written here, and what `age --passphrase` writes is read here. The format's own crate would
//! bring ninety more with it, most of them for recipients that nobody needs here.

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

const VERSION: &str = "age-encryption.org/v1";
const SCRYPT: &str = "age-encryption.org/v1/scrypt";
/// scrypt's cost, as a power of two: 128 MiB and about half a second to guess once.
const WORK: u8 = 17;
/// The highest cost that is accepted, so that a file cannot ask for unbounded memory: 256 MiB, what
/// `age` itself writes.
const MOST_WORK: u8 = 18;
const CHUNK: usize = 64 << 10;
const TAG: usize = 16;
const NONCE: usize = 16;

type Key = Zeroizing<[u8; 32]>;

/// Encrypts `plain` so that `passphrase` opens it.
pub(super) fn encrypt(plain: &[u8], passphrase: &str) -> Result<Vec<u8>> {
    encrypt_at(WORK, plain, passphrase)
}

fn encrypt_at(work: u8, plain: &[u8], passphrase: &str) -> Result<Vec<u8>> {
    let mut random = Zeroizing::new([0; 48]);
    getrandom::fill(random.as_mut_slice()).context("no random numbers")?;
    let (file_key, rest) = random.split_at(16);
    let (salt, nonce) = rest.split_at(16);
    let wrapped = cipher(&scrypt(passphrase, salt, work)?)
        .encrypt(&[0; 12].into(), file_key)
        .map_err(|_| anyhow::anyhow!("the key cannot be wrapped"))?;
    let mut header = format!(
        "{VERSION}\n-> scrypt {} {work}\n{}\n---",
        BASE64.encode(salt),
        BASE64.encode(wrapped)
    );
    let mac = header_mac(file_key, header.as_bytes())?
        .finalize()
        .into_bytes();
    header.push_str(&format!(" {}\n", BASE64.encode(mac)));
    let mut file = header.into_bytes();
    file.extend_from_slice(nonce);
    let cipher = cipher(&derive(file_key, nonce, "payload")?);
    let count = plain.len().div_ceil(CHUNK).max(1);
    for i in 0..count {
        let chunk = &plain[i * CHUNK..plain.len().min((i + 1) * CHUNK)];
        let sealed = cipher.encrypt(&chunk_nonce(i, i + 1 == count).into(), chunk);
        file.extend(sealed.map_err(|_| anyhow::anyhow!("the file cannot be encrypted"))?);
    }
    Ok(file)
}

/// Decrypts a whole file.
///
/// # Errors
/// It is no such file, it was changed or cut off, or the passphrase is another one.
pub(super) fn decrypt(file: &[u8], passphrase: &str) -> Result<Zeroizing<Vec<u8>>> {
    let (salt, work, wrapped, header, mac, payload) =
        parse(file).context("expected a file that age encrypted with a passphrase")?;
    let file_key = cipher(&scrypt(passphrase, &salt, work)?)
        .decrypt(&[0; 12].into(), wrapped.as_slice())
        .map(Zeroizing::new)
        .map_err(|_| anyhow::anyhow!("the passphrase does not open it"))?;
    header_mac(&file_key, header)?
        .verify_slice(&mac)
        .context("its header was changed")?;
    let (nonce, mut rest) = payload.split_at_checked(NONCE).context("it is cut off")?;
    let cipher = cipher(&derive(&file_key, nonce, "payload")?);
    let mut plain = Zeroizing::new(Vec::with_capacity(rest.len()));
    for i in 0.. {
        let (chunk, after) = rest.split_at(rest.len().min(CHUNK + TAG));
        let opened = cipher.decrypt(&chunk_nonce(i, after.is_empty()).into(), chunk);
        let Ok(opened) = opened.map(Zeroizing::new) else {
            bail!("it was changed or cut off in block {i}");
        };
        // The last block is empty in an empty file alone.
        ensure!(
            i == 0 || !opened.is_empty(),
            "it has an empty block at its end"
        );
        plain.extend_from_slice(&opened);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    Ok(plain)
}

/// Salt, cost, wrapped key, the header up to its MAC, the MAC, and the payload.
type Parts<'a> = (Vec<u8>, u8, Vec<u8>, &'a [u8], Vec<u8>, &'a [u8]);

fn parse(file: &[u8]) -> Result<Parts<'_>> {
    let mut at = 0;
    let mut line = || -> Result<&str> {
        let length = file[at..].iter().take(200).position(|&byte| byte == b'\n');
        let end = at + length.context("its header is cut off")?;
        let line = std::str::from_utf8(&file[at..end]).context("its header is no text")?;
        at = end + 1;
        Ok(line)
    };
    ensure!(line()? == VERSION, "it does not begin with {VERSION}");
    let stanza = line()?
        .strip_prefix("-> scrypt ")
        .context("it wants a key file")?;
    let (salt, work) = stanza
        .split_once(' ')
        .context("its recipient is incomplete")?;
    let digits = work.bytes().all(|b| b.is_ascii_digit()) && !work.starts_with('0');
    let work: u8 = work
        .parse()
        .ok()
        .filter(|_| digits)
        .context("its cost is no number")?;
    ensure!(
        work <= MOST_WORK,
        "it has cost {work}, and at most {MOST_WORK} is accepted"
    );
    let salt = BASE64.decode(salt).context("its salt")?;
    let wrapped = BASE64.decode(line()?).context("its wrapped key")?;
    ensure!(
        salt.len() == 16 && wrapped.len() == 16 + TAG,
        "its recipient has wrong lengths"
    );
    let mac = line()?
        .strip_prefix("--- ")
        .context("it has more than one recipient")?;
    let mac_at = at - mac.len() - 2;
    let mac = BASE64.decode(mac).context("its MAC")?;
    Ok((salt, work, wrapped, &file[..mac_at], mac, &file[at..]))
}

fn scrypt(passphrase: &str, salt: &[u8], work: u8) -> Result<Key> {
    let mut key = Key::default();
    let salt = [SCRYPT.as_bytes(), salt].concat();
    let params = scrypt::Params::new(work, 8, 1).context("scrypt")?;
    scrypt::scrypt(passphrase.as_bytes(), &salt, &params, key.as_mut_slice()).context("scrypt")?;
    Ok(key)
}

fn derive(file_key: &[u8], salt: &[u8], purpose: &str) -> Result<Key> {
    let mut key = Key::default();
    let expanded =
        Hkdf::<Sha256>::new(Some(salt), file_key).expand(purpose.as_bytes(), key.as_mut_slice());
    expanded.map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(key)
}

fn cipher(key: &Key) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new((&**key).into())
}

fn header_mac(file_key: &[u8], header: &[u8]) -> Result<Hmac<Sha256>> {
    let mut mac = Hmac::new_from_slice(derive(file_key, &[], "header")?.as_slice())?;
    mac.update(header);
    Ok(mac)
}

/// The number of the block, and whether it is the last.
fn chunk_nonce(number: usize, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&(number as u64).to_be_bytes());
    nonce[11] = last.into();
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf hello | age --passphrase` of age 1.1.1, with the passphrase "correct horse".
    const OF_AGE: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBtc0FNWElFTWh6YTJTYmNBVDVRMW1RIDE4CnJ0Mjk1\
        ZEl4NC9YcTR4Qks1WTFnQWRKazlocGt6L1FmVEhEdzNObHBwME0KLS0tIDEweXZlMlU4ak1ZMExaWGJXc1Vs\
        NmRvQ2NwUkplWHRvQ2NldTlwZ3I0UlUKlxQcAwKz3Yv6CGmcQzYXHdlDbQ2wZFaRoN0PWLu51wt83aN6eQ";

    #[test]
    fn what_age_wrote_is_read() {
        let file = BASE64.decode(OF_AGE).unwrap();
        assert_eq!(
            decrypt(&file, "correct horse").unwrap().as_slice(),
            b"hello"
        );
        let error = decrypt(&file, "wrong horse").unwrap_err();
        assert!(error.to_string().contains("passphrase"), "{error}");
    }

    #[test]
    fn files_of_every_length_come_back() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK] {
            let plain: Vec<u8> = (0..=250).cycle().take(length).collect();
            let file = encrypt_at(4, &plain, "pass").unwrap();
            assert_eq!(*decrypt(&file, "pass").unwrap(), plain, "{length}");
        }
    }

    #[test]
    fn what_was_changed_or_cut_off_is_refused() {
        let file = encrypt_at(4, &[7; CHUNK + 5], "pass").unwrap();
        let header = file.windows(4).position(|w| w == b"--- ").unwrap() + 4 + 44;
        let refused = |file: &[u8], what: &str| {
            assert!(decrypt(file, "pass").is_err(), "{what}");
        };
        for end in [
            0,
            10,
            header,
            header + 8,
            header + NONCE + CHUNK + TAG,
            file.len() - 1,
        ] {
            refused(&file[..end], &format!("cut at {end}"));
        }
        for at in [
            0,
            25,
            60,
            header - 10,
            header + 1,
            header + 100,
            file.len() - 1,
        ] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            refused(&changed, &format!("byte {at}"));
        }
        refused(&[file.as_slice(), b"more"].concat(), "something behind it");
        let text = String::from_utf8_lossy(&file[..header]);
        for (from, to) in [
            (" 4\n", " 30\n"),
            (" 4\n", " 04\n"),
            ("scrypt", "X25519"),
            ("v1", "v2"),
        ] {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text);
            refused(&[other.as_bytes(), &file[header..]].concat(), to);
        }
    }
}
