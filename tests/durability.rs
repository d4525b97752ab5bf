//! Kills the real program at random moments, tears its files and fills its disk, and looks what is
//! left: what was acknowledged has to be there.
//!
//! `DOORWARD_KILLS` says how often, 15 times when it is not set, and `DOORWARD_SEED` at which moments,
//! as a test that failed has printed it. SIGKILL leaves what the system has taken over; that it is on
//! the disk before the program says so is the promise of SQLite's `synchronous = full`, which no test
//! here can break.
#![allow(missing_docs, clippy::unwrap_used)]

mod broker;
mod door;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use broker::{Broker, Message, Subscriber, available, free_port};
use door::{Door, fixture};
use doorward::config::{Config, StoreSection};
use doorward::event::EventType;
use doorward::store::Store;
use jiff::Timestamp;
use support::{event, noon};

/// A visit and a decision for every photo of [`visits`].
const HASTY: &str = "[decision]\nagree = 1\nof = 1\ncooldown_s = 0.1\nunknown_after_s = 0.1\n\
                     visit_gap_s = 0.1\n[camera.replay]\nfps = 1\n";

/// A folder of photos to replay: faces, and nobody between them.
fn visits(door: &Door) -> String {
    let folder = door.path("visits");
    std::fs::create_dir(&folder).unwrap();
    let photos = ["ada.jpg", "no_face.jpg", "bela.jpg", "no_face.jpg"];
    for (i, photo) in photos.iter().cycle().take(40).enumerate() {
        std::fs::copy(fixture(photo), folder.join(format!("{i:02}.jpg"))).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

fn kills() -> u32 {
    match std::env::var("DOORWARD_KILLS") {
        Ok(number) => number.parse().unwrap(),
        Err(_) => 15,
    }
}

/// Moments, different in every run unless a seed is given: the machine is never the same twice anyway.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = match std::env::var("DOORWARD_SEED") {
            Ok(number) => number.parse().unwrap(),
            Err(_) => Timestamp::now().as_microsecond().unsigned_abs(),
        };
        println!("random moments: DOORWARD_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: u128) -> u128 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        u128::from(x ^ (x >> 27)) % end.max(1)
    }

    fn part_of(&mut self, span: Duration) -> Duration {
        Duration::from_micros(self.below(span.as_micros()).try_into().unwrap())
    }
}

fn start(door: &Door, args: &[&str]) -> Child {
    let command = door.command(args);
    let mut real = Command::new(command.get_program());
    real.args(command.get_args());
    real.stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Starts the program and kills it after some part of `span`.
fn kill(door: &Door, args: &[&str], span: Duration, random: &mut Random) -> Output {
    let mut child = start(door, args);
    std::thread::sleep(random.part_of(span));
    child.kill().unwrap();
    child.wait_with_output().unwrap()
}

/// Starts the program and kills it as soon as it has said a line, which is returned.
fn kill_at_its_word(door: &Door, args: &[&str]) -> String {
    let mut child = start(door, args);
    let mut said = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut said).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    said
}

fn store(door: &Door) -> Store {
    let section = StoreSection {
        path: door.path("door.db"),
        ..StoreSection::default()
    };
    let store = Store::open(&section, Timestamp::now()).unwrap();
    store.check().unwrap();
    store
}

fn is_event(message: &Message) -> bool {
    message.topic.ends_with("/event") || message.topic.ends_with("/audit")
}

/// What came of the events of a daemon that was killed again and again.
struct Events {
    stored: usize,
    lost: usize,
    /// Different events under one id.
    duplicated: usize,
    /// Sent again because the broker's word had not come; the id tells.
    resent: usize,
}

fn kill_daemons(trials: u32, random: &mut Random) -> Events {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let subscriber = Subscriber::start(broker.port, &["-q", "1"]);
    let mqtt = format!(
        "[mqtt]\nhost = \"127.0.0.1\"\nport = {}\n{HASTY}",
        broker.port
    );
    let door = Door::new(&mqtt);
    door.expect(0, &["enroll", "ada", "--photo", &fixture("ada.jpg")]);
    let clip = visits(&door);
    let args = ["run", "--replay", &clip, "--fast", "--repeat"];
    let begun = Instant::now();
    let mut first = start(&door, &args);
    let mut received = subscriber.until("the first event", is_event);
    let span = begun.elapsed() * 2;
    first.kill().unwrap();
    first.wait().unwrap();
    for _ in 0..trials {
        kill(&door, &args, span, random);
        assert!(store(&door).verify_audit().unwrap().is_whole());
    }
    // A last run sends what is left, and what it sees itself.
    door.expect(0, &["run", "--replay", &clip, "--fast"]);
    assert_eq!(store(&door).outbox_len().unwrap(), 0);
    received.extend(subscriber.drain(Duration::from_secs(1)));

    // What each event said; whether it came late is no part of that.
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let events: Vec<_> = received.iter().filter(|m| is_event(m)).collect();
    for message in &events {
        let mut event = message.json();
        event["replayed"] = false.into();
        let id = event["event_id"].as_str().unwrap().to_owned();
        ids.entry(id).or_default().insert(event.to_string());
    }
    let stored = store(&door).recent(u32::MAX).unwrap();
    let numbers: Vec<_> = stored.iter().rev().map(|e| e.seq).collect();
    assert_eq!(numbers, (1..=stored.len() as u64).collect::<Vec<_>>());
    let lost = stored
        .iter()
        .filter(|e| !ids.contains_key(&e.event_id))
        .count();
    assert_eq!(
        ids.len() + lost,
        stored.len(),
        "nothing is sent that is not stored"
    );
    Events {
        stored: stored.len(),
        lost,
        duplicated: ids.values().filter(|said| said.len() > 1).count(),
        resent: events.len() - ids.len(),
    }
}

/// How many enrolments were acknowledged, and how many of these were lost.
fn kill_enrolments(trials: u32, random: &mut Random) -> (u32, u32) {
    let door = Door::new("");
    let photo = fixture("ada.jpg");
    let enroll =
        |name: &str| ["enroll", name, "--photo", &photo, "--force", "--json"].map(str::to_owned);
    let begun = Instant::now();
    let args = enroll("first");
    door.expect(0, &args.each_ref().map(String::as_str));
    let span = begun.elapsed().mul_f64(1.5);
    let (mut acknowledged, mut lost) = (0, 0);
    // One more is killed right after its acknowledgement, so that there is one.
    for trial in 0..=trials {
        let name = format!("subject {trial}");
        let args = enroll(&name);
        let args = args.each_ref().map(String::as_str);
        let said = if trial == trials {
            kill_at_its_word(&door, &args)
        } else {
            let said = kill(&door, &args, span, random);
            String::from_utf8(said.stdout).unwrap()
        };
        let listed = store(&door)
            .list()
            .unwrap()
            .into_iter()
            .find(|s| s.name == name);
        let templates = listed.map(|s| s.templates.iter().map(|(_, n)| n).sum::<u32>());
        assert_ne!(templates, Some(0), "half an enrolment");
        if said.contains("\"added\":1") {
            acknowledged += 1;
            lost += u32::from(templates != Some(1));
        }
    }
    assert!(acknowledged > 0, "no enrolment was acknowledged");
    (acknowledged, lost)
}

/// Kills removals, which have to leave the whole person or no trace, and first starts, which have
/// to leave what the next one can use.
fn kill_removals_and_first_starts(trials: u32, random: &mut Random) {
    let door = Door::new("");
    let photo = fixture("ada.jpg");
    let span = |door: &Door, args: &[&str]| {
        let begun = Instant::now();
        door.expect(0, args);
        begun.elapsed().mul_f64(1.2)
    };
    let enroll = |name: &str| door.expect(0, &["enroll", name, "--photo", &photo, "--force"]);
    enroll("Somebody");
    let long = span(&door, &["gallery", "remove", "Somebody"]);
    let short = span(&Door::new(""), &["gallery", "list"]);
    let mut there = false;
    for _ in 0..trials.div_ceil(2) {
        if !there {
            enroll("Nobody Knows");
        }
        kill(&door, &["gallery", "remove", "Nobody Knows"], long, random);
        there = !store(&door).list().unwrap().is_empty();
        let found = files_with(door.path("door.db").parent().unwrap(), b"Nobody Knows");
        assert_eq!(there, !found.is_empty(), "{found:?}");
    }
    for _ in 0..trials / 2 {
        let door = Door::new("");
        kill(&door, &["gallery", "list"], short, random);
        door.expect(0, &["gallery", "list"]);
    }
}

fn files_with(folder: &Path, needle: &[u8]) -> Vec<String> {
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let with = files.filter(|path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    });
    with.map(|path| path.display().to_string()).collect()
}

#[test]
fn kills_at_random_moments_lose_nothing() {
    if !available(&["mosquitto", "mosquitto_sub", "mosquitto_pub"]) {
        return;
    }
    let mut random = Random::new();
    let trials = kills().div_ceil(3);
    let events = kill_daemons(trials, &mut random);
    let (enrolments, lost) = kill_enrolments(trials, &mut random);
    kill_removals_and_first_starts(trials, &mut random);
    println!(
        "kill harness: {} trials, {} events stored, {} lost, {} duplicated by id, {} sent again; \
         {enrolments} enrolments acknowledged, {lost} lost",
        3 * trials,
        events.stored,
        events.lost,
        events.duplicated,
        events.resent,
    );
    assert_eq!((events.lost, events.duplicated, lost), (0, 0, 0));
}

/// A power cut may leave any part of the newest write in the log.
#[test]
fn a_torn_log_costs_the_newest_lines_alone() {
    let folder = tempfile::tempdir().unwrap();
    let section = |folder: &Path| {
        let text = format!("[store]\npath = {:?}", folder.join("door.db"));
        Config::parse(&text, Path::new("test")).unwrap().store
    };
    let mut store = Store::open(&section(folder.path()), noon()).unwrap();
    for _ in 0..30 {
        store
            .record(event(EventType::Unknown, noon()), true)
            .unwrap();
    }
    let log = std::fs::read(folder.path().join("door.db-wal")).unwrap();
    let mut random = Random::new();
    let mut shortest = u64::MAX;
    for trial in 0..=kills() {
        let torn = tempfile::tempdir().unwrap();
        for name in ["door.db", "door.db.key"] {
            std::fs::copy(folder.path().join(name), torn.path().join(name)).unwrap();
        }
        let mut log = log.clone();
        if trial > 0 {
            let at = usize::try_from(random.below(log.len() as u128)).unwrap();
            if trial % 2 == 0 {
                log.truncate(at);
            } else {
                log[at] ^= 0x55;
            }
        }
        std::fs::write(torn.path().join("door.db-wal"), log).unwrap();
        let store = Store::open(&section(torn.path()), noon()).unwrap();
        store.check().unwrap();
        let audit = store.verify_audit().unwrap();
        assert!(audit.is_whole(), "{audit:?}");
        assert_eq!(u64::from(store.outbox_len().unwrap()), audit.lines);
        assert!(trial > 0 || audit.lines == 30);
        shortest = shortest.min(audit.lines);
    }
    assert!(shortest < 30, "no tear hit anything");
}

/// The program with files that cannot grow beyond `bytes`, which is for SQLite like a full disk.
fn limited(door: &Door, bytes: u64, args: &[&str]) -> Output {
    let command = door.command(args);
    let mut limited = Command::new("sh");
    // The signal that the limit would send kills; without it the write fails.
    limited.args([
        "-c",
        "trap '' 25; exec prlimit --fsize=\"$0\" \"$@\"",
        &bytes.to_string(),
    ]);
    limited.arg(command.get_program()).args(command.get_args());
    limited.output().unwrap()
}

#[test]
fn a_full_disk_is_a_clear_error_and_loses_nothing() {
    if !available(&["prlimit"]) {
        return;
    }
    let door = Door::new(&format!("[mqtt]\nenabled = false\n{HASTY}"));
    let photo = fixture("ada.jpg");
    door.expect(0, &["enroll", "ada", "--photo", &photo]);
    let mut people = 1;
    let mut refused = 0;
    for kib in [4, 16, 36, 40, 48, 64, 80, 96, 128, 512] {
        let name = format!("twin {kib}");
        let args = ["enroll", &name, "--photo", &photo, "--force"];
        let said = limited(&door, kib << 10, &args);
        let err = String::from_utf8_lossy(&said.stderr);
        match said.status.code() {
            Some(0) => people += 1,
            Some(2) => {
                refused += 1;
                assert!(
                    err.contains("full or cannot be written"),
                    "{kib} KiB: {err}"
                );
                assert!(err.contains("free some space"), "{kib} KiB: {err}");
            }
            code => panic!("{kib} KiB: {code:?} {err}"),
        }
        assert_eq!(store(&door).list().unwrap().len(), people, "{kib} KiB");
    }
    assert!(
        refused > 0 && people > 1,
        "{refused} refused, {people} people"
    );

    let clip = visits(&door);
    let run = ["run", "--replay", &clip, "--fast", "--sink", "stdout"];
    let said = limited(&door, 64 << 10, &run);
    let err = String::from_utf8_lossy(&said.stderr);
    assert!(err.contains("full or cannot be written"), "{err}");
    let printed = String::from_utf8(said.stdout).unwrap();
    let ids = printed.lines().map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["event_id"].as_str().unwrap().to_owned()
    });
    let mut ids: Vec<_> = ids.collect();
    ids.reverse();
    let stored = |door: &Door| {
        let events = store(door).recent(u32::MAX).unwrap();
        events.into_iter().map(|e| e.event_id).collect::<Vec<_>>()
    };
    assert_eq!(stored(&door), ids, "what was said is what is stored");
    door.expect(0, &run);
    assert!(stored(&door).len() > ids.len());
    assert!(store(&door).verify_audit().unwrap().is_whole());
}
