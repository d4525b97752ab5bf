//! The daemon for a long time: it must not grow.
//!
//! `DOORWARD_FRAMES` says how many frames it is given, 1,000 when it is not set. The first 20,000, or
//! half of them, are its time to warm up: buffers take their sizes and the database's cache fills.
#![allow(missing_docs, clippy::unwrap_used)]

mod door;
mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use door::{Door, fixture};

/// Growth that is allowed for: a page here and there.
const GROWTH_KIB: u64 = 1024;

/// Kills the daemon when a test fails.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn frames() -> u64 {
    std::env::var("DOORWARD_FRAMES").map_or(1000, |number| number.parse().unwrap())
}

/// Resident memory of a process, KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

/// Small photos of somebody known, somebody unknown and nobody, so that a frame takes little time
/// and still goes all the way.
fn photos(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    let names = [
        "ada", "ada", "ada", "no_face", "bela", "bela", "bela", "blurred", "no_face",
    ];
    for (i, name) in names.iter().enumerate() {
        let photo = image::open(fixture(&format!("{name}.jpg"))).unwrap();
        let small = photo.thumbnail(160, 160).into_rgb8();
        small.save(folder.join(format!("{i}.jpg"))).unwrap();
    }
}

#[test]
fn memory_stays_where_it_is() {
    let frames = frames();
    let warm_up = (frames / 2).min(20_000);
    let door = Door::new(
        "[detection]\nmax_side = 160\n[quality]\nmin_face_px = 16\nmin_sharpness = 0.0\n\
         [decision]\nagree = 1\nof = 1\ncooldown_s = 0.5\nunknown_after_s = 0.1\nvisit_gap_s = 0.1\n",
    );
    door.expect(0, &["enroll", "ada", "--photo", &fixture("ada.jpg")]);
    let folder = door.path("photos");
    photos(&folder);
    let folder = folder.to_str().unwrap();
    let run = [
        "run", "--replay", folder, "--fast", "--repeat", "--sink", "stdout",
    ];
    let command = door.command(&run);
    let mut real = Command::new(command.get_program());
    // It counts its frames in the log.
    real.args(command.get_args())
        .env("RUST_LOG", "off,doorward::daemon::vision=debug")
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut daemon = Daemon(real.spawn().unwrap());
    let pid = daemon.0.id();
    let log = BufReader::new(daemon.0.stderr.take().unwrap());
    let (mut seen, mut faces, mut warm, mut most) = (0u64, 0u64, 0, 0);
    for line in log.lines().map(Result::unwrap) {
        let Some((_, rest)) = line.split_once("] frame ") else {
            continue;
        };
        seen += 1;
        faces += u64::from(!rest.contains(": 0 faces"));
        if seen == warm_up {
            warm = resident(pid);
        }
        if seen > warm_up && seen % (frames / 100).max(1) == 0 {
            most = most.max(resident(pid));
        }
        if seen == frames {
            break;
        }
    }
    assert_eq!(seen, frames, "the daemon has ended");
    assert!(faces > frames / 3, "{faces} faces in {frames} frames");
    let growth = most.saturating_sub(warm);
    println!("soak: {frames} frames, {warm} KiB after {warm_up}, {growth} KiB more at most");
    assert!(growth < GROWTH_KIB, "{growth} KiB more");
}
