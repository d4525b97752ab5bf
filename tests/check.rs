//! `doorward check`: what it looks at, what it says, and what it leaves behind.
#![allow(missing_docs, clippy::unwrap_used)]

mod door;
mod support;

use door::{Door, enrolled, photo_door};
use support::skipped;

#[test]
fn check_says_what_is_wrong() {
    let door =
        Door::new("[mqtt]\nhost = \"127.0.0.1\"\nport = 1\n[camera]\ndevice = \"/dev/none\"\n");
    let said = door.expect(1, &["check", "--json"]);
    let answer = said.json();
    assert_eq!(answer["ok"], false);
    for (what, ok, detail) in [
        ("configuration", true, "door.toml"),
        ("detector", true, "detector"),
        ("embedder", true, "threshold"),
        ("gallery", true, "0 people"),
        ("camera", false, "/dev/none"),
        ("broker", false, "127.0.0.1:1"),
    ] {
        let checks = answer["checks"].as_array().unwrap();
        let check = checks.iter().find(|c| c["what"] == what).unwrap();
        assert_eq!(check["ok"], ok, "{check}");
        assert!(
            check["detail"].as_str().unwrap().contains(detail),
            "{check} should say {detail}"
        );
    }
    std::fs::write(door.path("door.toml"), "[camera]\nfsp = 3\n").unwrap();
    let said = door.expect(1, &["check"]);
    assert!(
        said.out.contains("line 2") && said.out.contains("fsp"),
        "{}",
        said.out
    );
}

#[test]
fn check_says_whom_the_rules_let_in() {
    let door = enrolled(&["ada"]);
    let config = std::fs::read_to_string(door.path("door.toml")).unwrap();
    let access = |rule: &str| {
        let rule = format!("{config}[[access.rule]]\nname = \"day\"\n{rule}\n");
        std::fs::write(door.path("door.toml"), rule).unwrap();
        door.expect(1, &["check", "--offline"]).out
    };
    let fine = "ok    access: 1 rules";
    for subjects in ["*", "ada"] {
        let said = access(&format!("subjects = [\"{subjects}\"]"));
        assert!(said.contains(fine), "{said}");
    }
    let said = access("subjects = [\"ada\", \"eve\"]");
    let wrong = "WRONG access: \"day\" names eve, not enrolled";
    assert!(said.contains(wrong), "{said}");
    let timed = "subjects = [\"*\"]\ndays = [\"mon\"]";
    let synced = std::path::Path::new("/run/systemd/timesync/synchronized").exists();
    let said = access(timed);
    assert_eq!(said.contains(fine), synced, "{said}");
    assert_eq!(said.contains("WRONG access: \"day\" has days"), !synced);
    let said = access(&format!("{timed}\n[device]\ntrust_clock = true"));
    assert!(said.contains(fine), "{said}");
}

#[test]
fn check_reads_every_template() {
    let door = enrolled(&["ada"]);
    let database = rusqlite::Connection::open(door.path("door.db")).unwrap();
    let spoil = "update template set sealed = zeroblob(length(sealed))";
    database.execute(spoil, []).unwrap();
    let said = door.expect(1, &["check", "--offline"]);
    let wrong = "WRONG gallery: a template of ada is not as it was sealed";
    assert!(said.out.contains(wrong), "{}", said.out);
}

#[test]
fn check_looks_at_a_frame() {
    for (spoilt, code, words) in [(false, 0, "ok    camera"), (true, 1, "WRONG camera")] {
        let said = photo_door(spoilt).expect(code, &["check"]);
        assert!(said.out.contains(words), "{}", said.out);
    }
}

#[test]
fn check_says_what_it_found_before_it_shows_the_camera() {
    let door = photo_door(false);
    let check = door.command(&["check", "--camera"]);
    let line = std::iter::once(check.get_program())
        .chain(check.get_args())
        .map(|word| word.to_str().unwrap())
        .collect::<Vec<_>>()
        .join(" ");
    // util-linux's `script` gives it a terminal.
    let Ok(said) = std::process::Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .output()
    else {
        return skipped("there is no `script`");
    };
    let said = String::from_utf8(said.stdout).unwrap();
    let (findings, picture) = said.split_once('▀').unwrap_or((&said, ""));
    for what in ["configuration", "embedder", "gallery", "camera", "broker"] {
        assert!(findings.contains(&format!("ok    {what}: ")), "{said}");
    }
    assert!(picture.contains("ok    picture: a face"), "{said}");
}

#[test]
fn the_picture_of_check_is_a_new_file_for_its_owner() {
    use std::os::unix::fs::MetadataExt;
    let door = photo_door(false);
    let picture = door.path("seen.jpg");
    let check = ["check", "--camera", picture.to_str().unwrap()];
    let said = door.expect(0, &check);
    assert!(said.out.contains("seen.jpg: a face"), "{}", said.out);
    let bytes = std::fs::read(&picture).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"), "whatever its name");
    assert_eq!(picture.metadata().unwrap().mode() & 0o777, 0o600);
    let said = door.expect(1, &check);
    assert!(
        said.out.contains("WRONG picture: cannot write"),
        "{}",
        said.out
    );
    assert_eq!(std::fs::read(&picture).unwrap(), bytes, "kept");
}

#[test]
fn what_root_makes_is_handed_to_whom_the_folder_belongs() {
    use std::os::unix::fs::{MetadataExt, chown};
    let door = photo_door(false);
    if chown(door.path(""), Some(4321), Some(4321)).is_err() {
        return skipped("this user is not root");
    }
    std::fs::write(door.path("door.db.backup"), "").unwrap();
    door.expect(0, &["check"]);
    let owner = |file: &str| door.path(file).metadata().unwrap().uid();
    for file in ["door.db", "door.db.key"] {
        assert_eq!(owner(file), 4321, "{file}");
    }
    assert_eq!(owner("door.db.backup"), 0, "not the program's");
}
