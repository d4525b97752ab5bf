//! The published reference models as drop-ins. They are not part of the repository: without them
//! these tests say so and test nothing.
#![allow(missing_docs, clippy::unwrap_used)]

mod door;
mod support;

use std::path::Path;

use door::{Door, fixture, shared};

fn with(door: &Door, shared: &Path, embedder: &str, code: i32, args: &[&str]) -> serde_json::Value {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/reference.toml");
    let (models, manifest) = (shared.join("models"), manifest);
    let mut all = vec!["--json", "--models", models.to_str().unwrap()];
    all.extend([
        "--manifest",
        manifest.to_str().unwrap(),
        "--embedder",
        embedder,
    ]);
    all.extend(args);
    door.expect(code, &all).json()
}

#[test]
fn every_reference_embedder_tells_faces_apart() {
    let Some(shared) = shared() else { return };
    let door = Door::new("");
    for embedder in [
        "mobilefacenet_mbf_512d_fp32",
        "mobilefacenet_mbf_512d_int8_qdq",
        "mobilefacenet_relu6_128d_fp32",
    ] {
        for (other, code) in [("ada_2.jpg", 0), ("bela.jpg", 1)] {
            let args = ["verify", &fixture("ada.jpg"), &fixture(other)];
            let answer = with(&door, &shared, embedder, code, &args);
            assert_eq!(answer["match"], code == 0, "{embedder} {other}: {answer}");
        }
    }
}

#[test]
fn the_reference_model_reaches_its_accuracy_on_a_fold_of_lfw() {
    let Some(shared) = shared() else { return };
    let door = Door::new("");
    let list = std::fs::read_to_string(shared.join("data/lfw/pairs_dev.txt")).unwrap();
    let fold: Vec<_> = list.lines().skip(1).take(600).collect();
    let pairs = door.path("fold.txt");
    std::fs::write(&pairs, format!("1 300\n{}\n", fold.join("\n"))).unwrap();
    let images = shared.join("data/lfw/lfw_dev.zip");
    let args = [
        "evaluate",
        "--images",
        images.to_str().unwrap(),
        "--pairs",
        pairs.to_str().unwrap(),
    ];
    let report = with(&door, &shared, "mobilefacenet_mbf_512d_fp32", 0, &args);
    assert_eq!(report["failed_detections"], 0, "{report}");
    assert!(report["accuracy"].as_f64().unwrap() >= 0.99, "{report}");
}
