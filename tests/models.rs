//! Models of one's own: which are refused, and with which words.
#![allow(missing_docs, clippy::unwrap_used)]

mod door;
mod support;

use door::{Door, fixture};

#[test]
fn a_manifest_needs_the_folder_of_its_models() {
    let photo = fixture("ada.jpg");
    let verify = ["verify", &photo, &photo, "--manifest", "other.toml"];
    let argument = Door::new("").expect(2, &verify);
    let key = Door::new("[models]\nmanifest = \"other.toml\"\n").expect(2, &verify[..3]);
    for said in [argument, key] {
        for words in ["other.toml", "--models", "[models] directory"] {
            assert!(said.err.contains(words), "{}", said.err);
        }
    }
}

#[test]
fn a_folder_of_models_that_is_not_there_is_named() {
    let photo = fixture("ada.jpg");
    let door = Door::new("");
    std::fs::write(door.path("manifest.toml"), "format = 1\n").unwrap();
    let mut command = door.command(&["verify", &photo, &photo, "--models", "nope"]);
    // A manifest in the folder where the program starts is none of theirs.
    let said = command.current_dir(door.path("")).output().unwrap();
    let err = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(2), "{err}");
    for words in ["nope/manifest.toml", "--models", "[models] directory"] {
        assert!(err.contains(words), "{err}");
    }
}

#[test]
fn models_that_do_not_fit_are_refused() {
    let door = Door::new("");
    let folder = door.path("models");
    std::fs::create_dir(&folder).unwrap();
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    for name in ["detector.onnx", "embedder.onnx", "manifest.toml"] {
        std::fs::copy(source.join(name), folder.join(name)).unwrap();
    }
    let models = folder.to_str().unwrap().to_owned();
    let photo = fixture("ada.jpg");
    let verify = ["verify", &photo, &photo, "--models", &models];
    door.expect(0, &verify);
    let manifest = std::fs::read_to_string(folder.join("manifest.toml")).unwrap();
    let change = |from: &str, to: &str| {
        assert!(manifest.contains(from), "{from}");
        std::fs::write(folder.join("manifest.toml"), manifest.replacen(from, to, 1)).unwrap();
    };
    let cases = [
        ("sha256 = \"", "sha256 = \"0", "no SHA-256"),
        ("format = 1", "format = 2", "format = 2"),
        (
            "embedder = \"embedder\"",
            "embedder = \"other\"",
            "no embedder named \"other\"",
        ),
        ("width = 112", "width = 96", "96x112"),
        ("output = { size = ", "output = { size = 1", "values"),
        (
            "file = \"embedder.onnx\"",
            "file = \"lost.onnx\"",
            "lost.onnx",
        ),
        (
            "file = \"embedder.onnx\"",
            "file = \"detector.onnx\"",
            "SHA-256",
        ),
        (
            "role = \"embedder\"",
            "rule = \"embedder\"",
            "unknown field `rule`",
        ),
    ];
    for (from, to, expected) in cases {
        change(from, to);
        let said = door.expect(2, &verify);
        assert!(
            said.err.contains(expected),
            "{to}: {} should say {expected}",
            said.err
        );
    }
}
