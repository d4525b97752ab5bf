//! Where a passphrase comes from: a file or the terminal, never an argument.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use zeroize::Zeroizing;

/// Characters of a new passphrase at least.
const LEAST: usize = 8;
const MAX_BYTES: u64 = 4096;

/// The passphrase of a file that exists.
pub(super) fn known(file: Option<&Path>) -> Result<Zeroizing<String>> {
    match file {
        Some(file) => first_line(file),
        None => ask("Passphrase: "),
    }
}

/// A passphrase for a new file, asked for twice.
pub(super) fn new(file: Option<&Path>) -> Result<Zeroizing<String>> {
    let passphrase = match file {
        Some(file) => first_line(file)?,
        None => {
            let passphrase = ask("New passphrase: ")?;
            ensure!(
                passphrase == ask("Once more: ")?,
                "the two passphrases differ"
            );
            passphrase
        }
    };
    ensure!(
        passphrase.chars().count() >= LEAST,
        "the passphrase is too short: expected {LEAST} characters or more"
    );
    Ok(passphrase)
}

fn ask(prompt: &str) -> Result<Zeroizing<String>> {
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .context("no terminal to ask for the passphrase; put it into a file for --passphrase-file")
}

fn first_line(file: &Path) -> Result<Zeroizing<String>> {
    use std::io::Read as _;
    let read = || format!("cannot read the passphrase in {}", file.display());
    let mut text = Zeroizing::new(String::new());
    let opened = std::fs::File::open(file).with_context(read)?;
    opened
        .take(MAX_BYTES)
        .read_to_string(&mut text)
        .with_context(read)?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Zeroizing::new(line.to_owned()))
}
