//! The door's thread with a lock that listens.

use tokio::sync::watch;

use super::*;
use crate::camera::Stop;
use crate::daemon::EventSink;
use crate::daemon::events::EventMaker;
use crate::daemon::service::{Service, Words};
use crate::event::{LockAction, VerificationEvent};
use crate::mqtt::DeviceState;
use crate::setup::ModelArgs;
use crate::store::Store;

/// Longer than any test takes.
const LONG: &str = "60.0";

struct Nowhere;

impl EventSink for Nowhere {
    fn deliver(&mut self, _: &VerificationEvent) {}

    fn uses_outbox(&self) -> bool {
        false
    }
}

/// A panic shuts every door of the process, so there is one at a time.
static ALONE: Mutex<()> = Mutex::new(());

struct Stage {
    door: Door,
    words: mpsc::Receiver<LockWord>,
    shared: Arc<Shared>,
    ended: Arc<Notify>,
    reporting: Option<JoinHandle<Result<()>>>,
    _claims: Receiver<Claimed>,
    _alone: std::sync::MutexGuard<'static, ()>,
}

fn stage(folder: &std::path::Path, pulse: &str) -> Stage {
    stage_with(folder, pulse, "2.0")
}

fn stage_with(folder: &std::path::Path, pulse: &str, max_age: &str) -> Stage {
    let alone = lock(&ALONE);
    let path = folder.join("door.toml");
    let rule = "[[access.rule]]\nname = \"all\"\nsubjects = [\"*\"]\n";
    let door = format!("[door]\nmqtt_lock = true\npulse_s = {pulse}\nmax_age_s = {max_age}\n");
    std::fs::write(&path, format!("[store]\npath = \"door.db\"\n{door}{rule}")).unwrap();
    let setup = Arc::new(Setup::load(Some(&path), &ModelArgs::default()).unwrap());
    let maker = EventMaker::new(&setup, &setup.pipeline().unwrap());
    let store = Store::open(&setup.config.store, Timestamp::now()).unwrap();
    let shared = Arc::new(Shared {
        store: Mutex::new(store),
        waiting: Mutex::default(),
        state: watch::channel(DeviceState::default()).0,
        sink: Mutex::new(Box::new(Nowhere)),
        maker: Mutex::new(maker),
        setup: Mutex::new(Arc::clone(&setup)),
        successor: Mutex::default(),
        reloading: Mutex::default(),
        words: Mutex::new(Words::default()),
        stop: Stop::new(),
        panicked: Arc::default(),
    });
    let (sender, words) = mpsc::channel(8);
    let ended = Arc::new(Notify::new());
    let (door, reporting, claims) =
        Door::start(&setup, None, &shared, Some(sender), &ended).unwrap();
    Stage {
        door,
        words,
        shared,
        ended,
        reporting: Some(reporting),
        _claims: claims,
        _alone: alone,
    }
}

impl Stage {
    /// The next word, which has to be this.
    fn expect(&mut self, action: LockAction) {
        let word = self.words.blocking_recv().unwrap();
        assert_eq!(word.action, action);
        assert_eq!(word.expires_at.is_some(), action == LockAction::Open);
    }

    /// What is stored when the door has stopped.
    fn reasons(&mut self) -> Vec<String> {
        join(self.reporting.take().unwrap()).unwrap();
        let events = lock(&self.shared.store).recent(10).unwrap();
        events.into_iter().rev().map(|event| event.reason).collect()
    }
}

#[test]
fn commands_move_the_door_and_are_events() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = stage(folder.path(), LONG);
    let control = stage.door.control();
    stage.expect(LockAction::Shut);
    control.open("a test").unwrap();
    stage.expect(LockAction::Open);
    control.hold("a test").unwrap();
    stage.expect(LockAction::Shut);
    let refusal = control.open("a test").unwrap_err();
    assert_eq!(refusal.word(), "door_held");
    control.release("a test").unwrap();
    control.open("a test").unwrap();
    stage.expect(LockAction::Open);
    control.claim("ada").unwrap();
    stage.door.stop().unwrap();
    stage.expect(LockAction::Shut);
    assert_eq!(control.open("a test").unwrap_err().word(), "stopping");
    assert_eq!(stage.reasons(), ["command", "held", "released", "command"]);
}

#[test]
fn a_device_that_can_store_nothing_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let stage = stage(folder.path(), LONG);
    let intruder = rusqlite::Connection::open(folder.path().join("door.db")).unwrap();
    let service = Service {
        shared: Arc::clone(&stage.shared),
        progress: Arc::default(),
        turns: Arc::default(),
        broker: None,
        timeout: Duration::ZERO,
    };
    let words = "events cannot be stored";
    let control = stage.door.control();
    for (sql, stored, not_stored) in [
        ("alter table event rename to away", false, 1),
        ("", false, 2),
        ("alter table away rename to event", true, 2),
    ] {
        intruder.execute_batch(sql).unwrap();
        assert_eq!(control.open("a test").is_ok(), stored, "{sql}");
        let state = stage.shared.state.borrow().clone();
        let word = if stored { "ok" } else { "failed" };
        assert_eq!(
            (state.store.as_str(), state.events_not_stored),
            (word, not_stored)
        );
        assert_eq!(
            service.status().contains(words),
            !stored,
            "{}",
            service.status()
        );
    }
}

/// A removal may write for longer than anybody waits.
#[test]
fn what_nothing_hangs_on_waits_for_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = stage(folder.path(), LONG);
    let intruder = rusqlite::Connection::open(folder.path().join("door.db")).unwrap();
    intruder.execute_batch("begin immediate").unwrap();
    stage
        .shared
        .tell_camera("gone", String::new(), Some("lost"));
    stage.shared.tell_fault();
    assert!(
        stage.door.control().open("a test").is_err(),
        "that does not wait"
    );
    assert_eq!(lock(&stage.shared.waiting).len(), 2);
    assert_eq!(stage.shared.state.borrow().events_not_stored, 1);
    intruder.execute_batch("rollback").unwrap();
    stage.shared.catch_up();
    assert_eq!(stage.shared.state.borrow().store, "ok");
    stage.door.stop().unwrap();
    assert_eq!(stage.reasons().len(), 2);
}

#[test]
fn a_pulse_ends_by_itself_and_an_old_decision_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = stage(folder.path(), "0.1");
    let control = stage.door.control();
    stage.expect(LockAction::Shut);
    control.open_on(Instant::now());
    stage.expect(LockAction::Open);
    stage.expect(LockAction::Shut);
    control.open_on(Instant::now().checked_sub(Duration::from_secs(3)).unwrap());
    stage.door.stop().unwrap();
    assert_eq!(stage.reasons(), ["grant_too_old"]);
    assert!(stage.words.try_recv().is_err(), "nothing more was said");
}

#[test]
fn a_panic_in_any_thread_shuts_the_door() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = stage(folder.path(), LONG);
    stage.expect(LockAction::Shut);
    stage.door.control().open("a test").unwrap();
    stage.expect(LockAction::Open);
    let panics = std::thread::spawn(|| panic!("as a test wants it"));
    assert!(panics.join().is_err());
    stage.expect(LockAction::Shut);
    assert_eq!(stage.words.blocking_recv(), None, "the thread has ended");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    // The daemon hears of it, and ends.
    runtime.block_on(stage.ended.notified());
}

#[test]
fn a_held_door_is_held_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    {
        let stage = stage(folder.path(), LONG);
        stage.door.control().hold("a test").unwrap();
    }
    let mut stage = stage(folder.path(), LONG);
    let control = stage.door.control();
    assert!(control.is_held());
    control.open_on(Instant::now());
    stage.door.stop().unwrap();
    stage.expect(LockAction::Shut);
    assert!(stage.words.try_recv().is_err());
}

#[test]
fn a_command_that_took_too_long_to_store_is_not_said_to_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = stage_with(folder.path(), LONG, "0.1");
    let control = stage.door.control();
    stage.expect(LockAction::Shut);
    let busy = lock(&stage.shared.store);
    let asked =
        std::thread::spawn(move || control.open("a test").map_err(|refusal| refusal.word()));
    std::thread::sleep(Duration::from_millis(200));
    drop(busy);
    assert_eq!(asked.join().unwrap(), Err("grant_too_old"));
    stage.door.stop().unwrap();
    assert_eq!(stage.reasons(), ["command", "grant_too_old"]);
    assert!(stage.words.try_recv().is_err(), "the lock heard nothing");
}

#[test]
fn neither_the_strike_nor_its_end_waits_for_a_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = stage(folder.path(), "0.1");
    let control = stage.door.control();
    stage.expect(LockAction::Shut);
    let shared = Arc::clone(&stage.shared);
    let busy = lock(&shared.store);
    control.open_on(Instant::now().checked_sub(Duration::from_secs(3)).unwrap());
    control.open_on(Instant::now());
    stage.expect(LockAction::Open);
    stage.expect(LockAction::Shut);
    stage.door.stop().unwrap();
    drop(busy);
    assert_eq!(stage.reasons(), ["grant_too_old"]);
}

#[test]
fn a_panic_that_is_caught_where_a_camera_is_asked_shuts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = stage(folder.path(), LONG);
    let control = stage.door.control();
    stage.expect(LockAction::Shut);
    assert!(camera::caught(|| panic!("an odd driver")).is_err());
    control.open("a test").unwrap();
    stage.expect(LockAction::Open);
    assert!(!stage.shared.panicked.load(Ordering::SeqCst));
}
