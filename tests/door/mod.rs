//! A door of its own for each test: a folder with a configuration and a database, and the binary.
#![allow(missing_docs, dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod daemon;

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::skipped;

pub struct Door {
    folder: TempDir,
}

/// What a command said.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {} {}", self.out, self.err))
    }
}

impl Door {
    /// A door whose configuration has these lines too. It accepts ten times the usual rates: the
    /// models in the binary are small, and the composites are smoother than faces.
    pub fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let matching = "[matching]\nfmr = 1e-3\nfpir = 1e-3\n";
        let config = format!("[store]\npath = \"door.db\"\n{matching}{more}");
        std::fs::write(folder.path().join("door.toml"), config).unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The binary with this door's configuration and `args`, not yet run.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::cargo_bin("doorward").unwrap();
        command
            .arg("--config")
            .arg(self.path("door.toml"))
            .args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Said {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(args).output().unwrap();
        Said {
            code: status.code().unwrap_or(-1),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }

    /// Runs and expects this exit status.
    pub fn expect(&self, code: i32, args: &[&str]) -> Said {
        let said = self.run(args);
        assert_eq!(said.code, code, "{args:?}\n{}\n{}", said.out, said.err);
        said
    }
}

/// A door with these people enrolled, each by the fixture of that name.
pub fn enrolled(people: &[&str]) -> Door {
    let door = Door::new("");
    for person in people {
        door.expect(
            0,
            &[
                "enroll",
                person,
                "--photo",
                &fixture(&format!("{person}.jpg")),
            ],
        );
    }
    door
}

/// A camera that is a photo, once, and that is pictures no longer where `spoilt` says so.
pub fn photo_door(spoilt: bool) -> Door {
    let door = Door::new(
        "[mqtt]\nenabled = false\n[camera]\nsource = \"replay\"\nreplay.path = \"a.jpg\"\n",
    );
    let mut photo = std::fs::read(fixture("ada.jpg")).unwrap();
    if spoilt {
        // The first Huffman table has more codes of one bit than there are.
        let table = photo.windows(2).position(|w| w == [0xff, 0xc4]).unwrap();
        photo[table + 5] = 0xff;
    }
    std::fs::write(door.path("a.jpg"), photo).unwrap();
    door
}

/// A file of `tests/fixtures`.
pub fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    folder.join(name).to_str().unwrap().to_owned()
}

/// The folder of reference models and data beside the repository, or none with a word about it.
pub fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    if folder.join("models").is_dir() {
        return Some(folder);
    }
    skipped(&format!("{} is not there", folder.display()));
    None
}
