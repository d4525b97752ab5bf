//! The models that are compiled in, so that one file is enough on a device.

/// Their manifest.
pub(super) const MANIFEST: &str = include_str!("../../models/manifest.toml");

/// The files that it names.
pub(super) const FILES: [(&str, &[u8]); 3] = [
    (
        "detector.onnx",
        include_bytes!("../../models/detector.onnx"),
    ),
    (
        "embedder.onnx",
        include_bytes!("../../models/embedder.onnx"),
    ),
    (
        "liveness.onnx",
        include_bytes!("../../models/liveness.onnx"),
    ),
];
