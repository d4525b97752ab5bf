//! The cameras of this machine and their lasting names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::camera::{CameraError, probe};

/// A camera that is plugged in.
#[derive(Debug)]
pub struct CaptureDevice {
    /// Its node, such as `/dev/video0`. The number may change with the next plugging.
    pub node: PathBuf,
    /// Links to it that stay the same: by its serial number, by the socket that it is plugged in.
    pub aliases: Vec<PathBuf>,
    /// The card's name, or why it cannot be asked.
    pub card: Result<String, CameraError>,
}

/// Lists the devices that frames can be captured from, in the order of their numbers. Nodes for
/// metadata, codecs and outputs are left out; nodes that this user may not open are not.
pub fn capture_devices() -> Vec<CaptureDevice> {
    let dev = Path::new("/dev");
    let nodes = video_nodes(dev).into_iter();
    nodes
        .map(|node| CaptureDevice {
            card: probe::card(&node.to_string_lossy()),
            aliases: aliases(dev, &node),
            node,
        })
        .filter(|device| {
            use CameraError::{Missing, NotCapture, NotVideo};
            !matches!(
                device.card,
                Err(Missing { .. } | NotCapture { .. } | NotVideo { .. })
            )
        })
        .collect()
}

/// `video0`, `video1`, ... under `dev`, in the order of their numbers.
fn video_nodes(dev: &Path) -> Vec<PathBuf> {
    let number = |path: &PathBuf| -> Option<u32> {
        path.file_name()?
            .to_str()?
            .strip_prefix("video")?
            .parse()
            .ok()
    };
    let mut nodes: Vec<_> = entries(dev)
        .into_iter()
        .filter_map(|path| Some((number(&path)?, path)))
        .collect();
    nodes.sort();
    nodes.into_iter().map(|(_, path)| path).collect()
}

/// The links under `dev/v4l` that lead to `node`.
fn aliases(dev: &Path, node: &Path) -> Vec<PathBuf> {
    let Ok(target) = node.canonicalize() else {
        return Vec::new();
    };
    let links = ["by-id", "by-path"]
        .iter()
        .flat_map(|kind| entries(&dev.join("v4l").join(kind)));
    links
        .filter(|link| link.canonicalize().is_ok_and(|path| path == target))
        .collect()
}

/// The paths in a folder in the order of their names; none if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nodes_are_listed_by_number_with_their_aliases() {
        let dev = tempfile::tempdir().unwrap();
        let dev = dev.path();
        for name in ["video10", "video2", "video0", "videodev", "vbi0", "video-x"] {
            fs::write(dev.join(name), "").unwrap();
        }
        for (kind, link, target) in [
            ("by-path", "usb-1.2-video-index0", "../../video10"),
            ("by-path", "usb-1.3-video-index0", "../../video2"),
            ("by-path", "usb-1.4-video-index0", "../../video7"),
            ("by-id", "usb-Maker_Camera-index0", "../../video10"),
        ] {
            let folder = dev.join("v4l").join(kind);
            fs::create_dir_all(&folder).unwrap();
            symlink(target, folder.join(link)).unwrap();
        }
        let nodes = video_nodes(dev);
        let found = nodes.iter().map(|node| {
            let relative = |path: &Path| path.strip_prefix(dev).unwrap().display().to_string();
            let aliases = aliases(dev, node)
                .iter()
                .map(|path| relative(path))
                .collect::<Vec<_>>();
            format!("{}: {}", relative(node), aliases.join(" "))
        });
        let expected = [
            "video0: ",
            "video2: v4l/by-path/usb-1.3-video-index0",
            "video10: v4l/by-id/usb-Maker_Camera-index0 v4l/by-path/usb-1.2-video-index0",
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert!(video_nodes(&dev.join("nowhere")).is_empty());
    }
}
