//! The credentials of a service, which systemd gives and takes away.

use std::path::Path;

/// Where systemd puts the credentials of a service.
const FOLDER: &str = "/run/credentials";

/// What is to be said of a credential that is not there, after its name.
pub const AWAY: &str =
    "is a credential: it is there only while the service runs and /etc/credstore holds it";

/// Whether `path` is that of a credential. systemd guards it by an access list, whose mask shows as the
/// group's permissions.
pub fn is_credential(path: &Path) -> bool {
    path.starts_with(FOLDER)
}
