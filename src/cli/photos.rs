//! Faces of photographs, for the commands that take some.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::face::{ExtractedFace, FaceExtractor};
use crate::image::read_photo;

/// The face of a photo that shows one person.
pub(super) fn face_of(path: &Path, extractor: &mut FaceExtractor) -> Result<ExtractedFace> {
    let image = read_photo(path)?;
    let face = extractor
        .extract(&image)
        .with_context(|| path.display().to_string())?;
    let size = format!("{}x{} pixels", image.width(), image.height());
    let face = face.with_context(|| {
        format!(
            "{} ({size}) shows no face that is found; use a photo of the whole face from the \
             front",
            path.display()
        )
    })?;
    if face.others > 0 {
        bail!(
            "{} shows {} faces of about the same size; use a photo of one person alone",
            path.display(),
            face.others + 1
        );
    }
    Ok(face)
}
