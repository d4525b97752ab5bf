//! The commands, with the models in the binary and faces of nobody.
#![allow(missing_docs, clippy::unwrap_used)]

mod door;
mod support;

use door::{Door, enrolled, fixture, photo_door};

#[test]
fn two_photos_of_one_face_match_and_of_two_do_not() {
    let door = Door::new("");
    for (other, code) in [("ada_2.jpg", 0), ("bela.jpg", 1), ("cleo.jpg", 1)] {
        let said = door.expect(
            code,
            &["verify", "--json", &fixture("ada.jpg"), &fixture(other)],
        );
        let answer = said.json();
        let (similarity, threshold) = (
            answer["similarity"].as_f64().unwrap(),
            answer["threshold"].as_f64().unwrap(),
        );
        assert_eq!(answer["match"], code == 0, "{answer}");
        assert_eq!(similarity >= threshold, code == 0, "{answer}");
    }
}

#[test]
fn people_are_enrolled_identified_and_forgotten() {
    let door = enrolled(&["ada", "bela"]);
    let identify = |photo: &str, code| door.expect(code, &["identify", "--json", &fixture(photo)]);
    let ada = identify("ada_2.jpg", 0).json();
    assert_eq!(ada["subject"], "ada");
    assert_eq!(ada["runner_up"]["subject"], "bela");
    assert_eq!(
        identify("cleo.jpg", 1).json()["subject"],
        serde_json::Value::Null
    );

    door.expect(0, &["gallery", "rename", "ada", "Ada L."]);
    assert_eq!(identify("ada_2.jpg", 0).json()["subject"], "Ada L.");
    let list = door.expect(0, &["gallery", "list", "--json"]).json();
    let names: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["subject"].clone())
        .collect();
    assert_eq!(names, ["Ada L.", "bela"]);

    let path = |name: &str| door.path(name).to_str().unwrap().to_owned();
    let (file, words) = (path("people.age"), path("words"));
    let with_words = |door: &Door, code, verb| {
        door.expect(code, &["gallery", verb, &file, "--passphrase-file", &words])
    };
    std::fs::write(&words, "short\n").unwrap();
    assert!(with_words(&door, 2, "export").err.contains("too short"));
    std::fs::write(&words, "correct horse battery\n").unwrap();
    with_words(&door, 0, "export");
    let kept = with_words(&door, 2, "export");
    assert!(kept.err.contains("people.age"), "{}", kept.err);
    let exported = std::fs::read(&file).unwrap();
    assert!(exported.starts_with(b"age-encryption.org/v1\n"));
    assert!(!String::from_utf8_lossy(&exported).contains("Ada"));
    let taken = with_words(&door, 2, "import");
    assert!(taken.err.contains("enrolled already"), "{}", taken.err);
    door.expect(0, &["gallery", "rekey"]);
    identify("ada_2.jpg", 0);
    door.expect(0, &["gallery", "remove", "Ada L."]);
    let gone = door.expect(2, &["gallery", "remove", "Ada L."]);
    assert!(gone.err.contains("Ada L."), "{}", gone.err);
    identify("ada_2.jpg", 1);
    let other = Door::new("");
    with_words(&other, 0, "import");
    std::fs::write(&words, "another horse\n").unwrap();
    let wrong = with_words(&Door::new(""), 2, "import");
    assert!(wrong.err.contains("passphrase"), "{}", wrong.err);
    let said = other.expect(0, &["identify", "--json", &fixture("ada_2.jpg")]);
    assert_eq!(said.json()["subject"], "Ada L.");
}

#[test]
fn the_same_face_under_another_name_is_refused_unless_forced() {
    let door = enrolled(&["ada"]);
    let again = fixture("ada_2.jpg");
    let said = door.expect(2, &["enroll", "eve", "--photo", &again]);
    assert!(said.err.contains("enrolled as ada"), "{}", said.err);
    door.expect(0, &["enroll", "ada", "--photo", &again]);
    let list = door.expect(0, &["gallery", "list", "--json"]).json();
    assert_eq!(list[0]["templates"], 2);
    door.expect(0, &["enroll", "eve", "--photo", &again, "--force"]);
}

#[test]
fn a_photo_comes_by_standard_input() {
    for name in ["-", "/dev/stdin"] {
        let door = Door::new("");
        let enrol = ["enroll", "ada", "--photo", name];
        let mut command = door.command(&enrol);
        let piped = command.pipe_stdin(fixture("ada.jpg")).unwrap();
        piped.assert().success();
    }
}

#[test]
fn photos_that_do_not_do_are_refused_with_the_reason() {
    let door = Door::new("");
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(door.path(name), bytes).unwrap();
        door.path(name).to_str().unwrap().to_owned()
    };
    let ada = std::fs::read(fixture("ada.jpg")).unwrap();
    let mut dot = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(1, 1)
        .write_to(&mut dot, image::ImageFormat::Png)
        .unwrap();
    let mut huge = ada.clone();
    let size = huge.windows(2).position(|w| w == [0xff, 0xc0]).unwrap() + 5;
    huge[size..size + 4].copy_from_slice(&[0x27, 0x10, 0x27, 0x10]);
    let cases = [
        (fixture("no_face.jpg"), "no face"),
        (fixture("three_faces.jpg"), "3 faces"),
        (fixture("blurred.jpg"), "too blurred"),
        (fixture("tiny_face.jpg"), "too small"),
        (file("cut.jpg", &ada[..ada.len() / 2]), "truncated"),
        (
            file("text.jpg", b"this is no picture"),
            "text.jpg is no photo",
        ),
        (file("empty.jpg", b""), "empty.jpg is no photo"),
        (file("dot.png", dot.get_ref()), "no face"),
        (file("huge.jpg", &huge), "huge.jpg has 10000x10000 pixels"),
        ("/no/such/photo.jpg".to_owned(), "/no/such/photo.jpg"),
    ];
    for (photo, expected) in cases {
        let said = door.expect(2, &["enroll", "eve", "--photo", &photo]);
        assert!(
            said.err.contains(expected),
            "{photo}: {} should say {expected}",
            said.err
        );
    }
    let said = door.expect(2, &["bench", "--photo", &fixture("no_face.jpg")]);
    assert!(
        said.err.contains("no_face.jpg shows no face"),
        "{}",
        said.err
    );
    let said = door.expect(2, &["enroll", "eve"]);
    assert!(
        said.err.contains("--photo <FILE>...|--camera"),
        "{}",
        said.err
    );
    let two = [fixture("ada.jpg"), fixture("bela.jpg")];
    let said = door.expect(2, &["enroll", "eve", "--photo", &two[0], &two[1]]);
    let pair = format!("{} and {}: ", two[0], two[1]);
    assert!(
        said.err.contains(&pair) && said.err.contains("do not seem to show one person"),
        "{}",
        said.err
    );
    assert_eq!(
        door.expect(0, &["gallery", "list", "--json"])
            .json()
            .as_array()
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn a_standard_output_that_cannot_be_written_is_an_error_and_a_closed_one_is_not() {
    use std::process::Stdio;
    let door = photo_door(false);
    let photo = fixture("ada.jpg");
    let cases: [&[&str]; 4] = [
        &["verify", &photo, &photo],
        &["audit", "list", "--json"],
        &["check", "--offline"],
        // Without an end of its own.
        &[
            "run", "--sink", "stdout", "--replay", &photo, "--repeat", "--fast",
        ],
    ];
    let run = |args: &[&str], out: Stdio| {
        let built = door.command(args);
        let mut command = std::process::Command::new(built.get_program());
        command.args(built.get_args()).stdout(out);
        let said = command.stderr(Stdio::piped()).output().unwrap();
        let err = String::from_utf8(said.stderr).unwrap();
        assert!(!err.contains("panicked"), "{args:?}: {err}");
        (said.status.code(), err)
    };
    for args in cases {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let (failed, err) = run(args, full.unwrap().into());
        assert_eq!(failed, Some(2), "{args:?}: {err}");
        assert!(err.contains("cannot write to standard output"), "{err}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (ended, err) = run(args, writer.into());
        assert_eq!(ended, Some(0), "{args:?}: {err}");
    }
}

#[test]
fn the_help_tells_the_exit_status() {
    for args in [
        &["--help"][..],
        &["identify", "--help"],
        &["verify", "--help"],
        &["check", "--help"],
    ] {
        let said = Door::new("").expect(0, args);
        assert!(said.out.contains("Exit status: 0 "), "{}", said.out);
    }
}

#[test]
fn names_that_mean_something_else_are_refused() {
    for name in ["", "a/b", "a\nb", "#", "*"] {
        let photo = fixture("ada.jpg");
        Door::new("").expect(2, &["enroll", name, "--photo", &photo]);
    }
}

#[test]
fn a_replay_of_photos_enrols_like_a_camera() {
    let door = Door::new(&format!(
        "[camera]\nsource = \"replay\"\n[camera.replay]\npath = \"{}\"\nfast = true\nrepeat = true\n",
        fixture("ada.jpg")
    ));
    door.expect(0, &["enroll", "ada", "--camera", "--frames", "4"]);
    door.expect(0, &["identify", &fixture("ada_2.jpg")]);
}

#[test]
fn a_replay_with_too_few_photos_says_how_many_are_needed() {
    let said = photo_door(false).expect(2, &["enroll", "ada", "--camera"]);
    let few = "1 of 1 frames were good, and 3 are needed\n";
    assert!(said.err.ends_with(few), "{}", said.err);
}

#[test]
fn a_corrupt_database_is_kept_and_named() {
    let door = enrolled(&["ada"]);
    let database = door.path("door.db");
    std::fs::write(&database, b"this was a database once, before the power cut").unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(door.path(&format!("door.db{suffix}")));
    }
    let said = door.expect(2, &["gallery", "list"]);
    assert!(said.err.contains("door.db"), "{}", said.err);
    let kept = std::fs::read_dir(database.parent().unwrap()).unwrap();
    let kept = kept.map(|e| e.unwrap()).any(|e| {
        let name = e.file_name().into_string().unwrap();
        name.starts_with("door.db")
            && std::fs::read(e.path())
                .unwrap()
                .starts_with(b"this was a database")
    });
    assert!(kept, "the damaged file is still there");
    door.expect(2, &["gallery", "list"]);
}

#[test]
fn a_cause_is_told_once() {
    let photo = fixture("ada.jpg");
    let door = Door::new("");
    let missing = "No such file or directory";
    for args in [
        ["verify", "/no/such/photo.jpg", &photo, "--json"],
        ["verify", &photo, &photo, "--config=/no/such/door.toml"],
        ["verify", &photo, &photo, "--models=/no/such/models"],
    ] {
        // A configuration of the door would be named twice.
        let mut command = assert_cmd::Command::cargo_bin("doorward").unwrap();
        let said = command.args(args).current_dir(door.path("")).output();
        let err = String::from_utf8(said.unwrap().stderr).unwrap();
        assert_eq!(err.matches(missing).count(), 1, "{err}");
    }
}

#[test]
fn bench_and_evaluate_answer_programs() {
    let door = Door::new("");
    let bench = door.expect(0, &["bench", "--runs", "1", "--json"]).json();
    for key in [
        "detect_ms",
        "align_ms",
        "embed_ms",
        "match_us_per_1000",
        "pipeline_ms",
        "rss_mib",
    ] {
        assert!(bench[key].as_f64().unwrap() > 0.0, "{key}: {bench}");
    }
    for person in ["ada", "bela", "cleo"] {
        let folder = door.path("images").join(person);
        std::fs::create_dir_all(&folder).unwrap();
        for (i, name) in [format!("{person}.jpg"), format!("{person}_2.jpg")]
            .iter()
            .enumerate()
        {
            let to = folder.join(format!("{person}_{:04}.jpg", i + 1));
            std::fs::copy(fixture(name), to).unwrap();
        }
    }
    let pairs = "1 3\nada 1 2\nbela 1 2\ncleo 1 2\nada 1 bela 1\nada 2 cleo 1\nbela 2 cleo 2\n";
    std::fs::write(door.path("pairs.txt"), pairs).unwrap();
    let (images, list, plot) = (
        door.path("images"),
        door.path("pairs.txt"),
        door.path("det.svg"),
    );
    let evaluate = |json| {
        let mut args = vec!["evaluate", "--images", images.to_str().unwrap()];
        args.extend([
            "--pairs",
            list.to_str().unwrap(),
            "--plot",
            plot.to_str().unwrap(),
        ]);
        args.extend(json);
        door.expect(0, &args)
    };
    let report = evaluate(Some("--json")).json();
    assert_eq!(
        (report["pairs"].as_u64(), report["accuracy"].as_f64()),
        (Some(6), Some(1.0))
    );
    assert_eq!(report["failed_detections"], 0);
    assert_eq!(report["tar_at_fmr"]["0.001"], 1.0, "{report}");
    assert!(evaluate(None).out.contains("100.00 %"));
    assert!(std::fs::read_to_string(plot).unwrap().contains("<svg"));
}
