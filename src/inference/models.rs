//! The models at hand: those in the binary, or those of a folder.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::bundled;
use super::error::ModelError;
use super::manifest::{Manifest, ModelSpec, Role};

/// A manifest and the place of its files.
pub struct Models {
    manifest: Manifest,
    /// The manifest in words.
    origin: String,
    /// Folder of the files; none for those in the binary.
    folder: Option<PathBuf>,
}

/// One model: its description and its file's bytes, whose hash is right.
pub struct ModelFile {
    /// Name in the manifest.
    pub name: String,
    /// The description.
    pub spec: ModelSpec,
    /// The ONNX file.
    pub bytes: Cow<'static, [u8]>,
}

impl Models {
    /// The models in the binary.
    ///
    /// # Errors
    /// [`ModelError::Manifest`], which a test rules out.
    pub fn bundled() -> Result<Self, ModelError> {
        Self::new(bundled::MANIFEST, "in the program".to_owned(), None)
    }

    /// The models of `folder`, described by `manifest`: a name in `folder`, or a path there or
    /// anywhere.
    ///
    /// # Errors
    /// [`ModelError::Read`] and [`ModelError::Manifest`].
    pub fn open(folder: &Path, manifest: &Path) -> Result<Self, ModelError> {
        let inside = folder.join(manifest);
        // A mere name is not looked for in whatever folder the program was started in.
        let bare = manifest.components().count() == 1;
        let path = if bare || inside.exists() {
            inside
        } else {
            manifest.to_owned()
        };
        let text = std::fs::read_to_string(&path).map_err(|cause| ModelError::Read {
            path: path.clone(),
            cause,
        })?;
        Self::new(&text, path.display().to_string(), Some(folder.to_owned()))
    }

    fn new(text: &str, origin: String, folder: Option<PathBuf>) -> Result<Self, ModelError> {
        match Manifest::parse(text) {
            Ok(manifest) => Ok(Self {
                manifest,
                origin,
                folder,
            }),
            Err(reason) => Err(ModelError::Manifest {
                manifest: origin,
                reason,
            }),
        }
    }

    /// Where the models are, in words.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The model of `role` that is called `name`, or the default one. Its hash is checked.
    ///
    /// # Errors
    /// [`ModelError::Unknown`], [`ModelError::Read`] and [`ModelError::Hash`].
    pub fn get(&self, role: Role, name: Option<&str>) -> Result<ModelFile, ModelError> {
        let default = match role {
            Role::Detector => Some(&self.manifest.default.detector),
            Role::Embedder => Some(&self.manifest.default.embedder),
            Role::Liveness => self.manifest.default.liveness.as_ref(),
        };
        let name = name.or(default.map(String::as_str)).unwrap_or_default();
        let spec = self
            .manifest
            .models
            .get(name)
            .filter(|spec| spec.role == role);
        let spec = spec.ok_or_else(|| ModelError::Unknown {
            manifest: self.origin.clone(),
            role,
            name: name.to_owned(),
            known: self.names(role).join(", "),
        })?;
        let bytes = self.bytes(&spec.file)?;
        let found: String = Sha256::digest(&bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        if !found.eq_ignore_ascii_case(&spec.sha256) {
            return Err(ModelError::Hash {
                name: name.to_owned(),
                file: spec.file.display().to_string(),
                found,
                expected: spec.sha256.clone(),
            });
        }
        Ok(ModelFile {
            name: name.to_owned(),
            spec: spec.clone(),
            bytes,
        })
    }

    /// Names of the models of a role.
    pub fn names(&self, role: Role) -> Vec<String> {
        let of_role = self
            .manifest
            .models
            .iter()
            .filter(|(_, spec)| spec.role == role);
        of_role.map(|(name, _)| name.clone()).collect()
    }

    fn bytes(&self, file: &Path) -> Result<Cow<'static, [u8]>, ModelError> {
        let Some(folder) = &self.folder else {
            let known = bundled::FILES
                .iter()
                .find(|(name, _)| Path::new(name) == file);
            return known
                .map(|(_, bytes)| Cow::Borrowed(*bytes))
                .ok_or_else(|| {
                    let reason = format!("{} is not in the program", file.display());
                    ModelError::Manifest {
                        manifest: self.origin.clone(),
                        reason,
                    }
                });
        };
        let path = folder.join(file);
        let bytes = std::fs::read(&path).map_err(|cause| ModelError::Read { path, cause })?;
        Ok(Cow::Owned(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::Network;

    /// A layer that no kernel fits runs in floating point, which costs time and changes no result.
    #[test]
    fn the_bundled_models_run_in_integers() {
        let models = Models::bundled().unwrap();
        for role in [Role::Detector, Role::Embedder, Role::Liveness] {
            let model = models.get(role, None).unwrap();
            let input = &model.spec.input;
            let size = (input.width, input.height);
            let network = Network::new(&model.name, &model.bytes, input, size).unwrap();
            let report = network.arithmetic();
            assert_eq!(report.float, [""; 0], "{role}: {report}");
            assert!(report.fused >= 5, "{role}: {report}");
            assert!(report.arena.is_some(), "{role} runs over one arena");
        }
    }
}
