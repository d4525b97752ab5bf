//! A real broker, a real subscriber, and a line between them and the publisher that can be cut.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses what it needs"
)]

pub mod door;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::skipped;

/// No single thing in these tests takes so long, unless it never happens.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "{what}: has not happened");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether the programs are there. Without them a test says so and proves nothing.
pub fn available(programs: &[&str]) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
    let missing: Vec<_> = programs
        .iter()
        .filter(|program| {
            !path
                .split(':')
                .any(|folder| Path::new(folder).join(program).exists())
        })
        .collect();
    if !missing.is_empty() {
        skipped(&format!(
            "{missing:?} not installed (Debian: mosquitto mosquitto-clients openssl)"
        ));
    }
    missing.is_empty()
}

/// A port that nobody listens at, and that no other test of this program was given.
///
/// It lies below those that Linux gives to connections: with one of these a connection to a broker that
/// is away can come to be one to itself. It is asked for and not listened at: a program that another test
/// starts at that moment would hold the listener for a while, and the broker's own could not be had.
pub fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        let apart = std::process::id().wrapping_mul(101); // programs at the same time begin elsewhere
        let port = FIRST + apart.wrapping_add(given) % COUNT;
        let port = u16::try_from(port).unwrap();
        if TcpStream::connect(("127.0.0.1", port)).is_err() {
            return port;
        }
    }
}

fn command(program: &str) -> Command {
    let sbin = Path::new("/usr/sbin").join(program);
    Command::new(if sbin.exists() { sbin } else { program.into() })
}

/// A mosquitto on a loopback port, killed when dropped.
pub struct Broker {
    child: Child,
    pub port: u16,
}

impl Broker {
    /// `settings` are lines of mosquitto.conf below the listener; `folder` takes the file.
    pub fn start(port: u16, settings: &str, folder: &Path) -> Self {
        let path: PathBuf = folder.join(format!("mosquitto-{port}.conf"));
        let text = format!("user root\nlog_dest stderr\nlistener {port} 127.0.0.1\n{settings}\n");
        std::fs::write(&path, text).unwrap();
        let log = folder.join(format!("mosquitto-{port}.out"));
        let mut child = command("mosquitto")
            .arg("-c")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        // Who answers at the port may be somebody else, so it is the broker that is asked.
        wait_for("the broker runs", || {
            let said = std::fs::read_to_string(&log).unwrap();
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the broker at port {port} ended with {status}: {said}");
            }
            said.contains(" running\n")
        });
        Self { child, port }
    }

    pub fn open(port: u16, folder: &Path) -> Self {
        Self::start(port, "allow_anonymous true", folder)
    }

    /// SIGKILL: it has no time to say or store anything.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// HUP makes it read its lists again, STOP freezes and CONT thaws it.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([&format!("-{name}"), &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes one connection, and reads no more of it.
pub fn deaf_broker(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0, "the first packet");
    stream.write_all(&[0x20, 3, 0, 0, 0]).unwrap(); // It is taken.
    stream
}

/// How a connection ends for who reads what has arrived of it.
pub fn last_word(mut stream: TcpStream) -> std::io::Result<usize> {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.read_to_end(&mut Vec::new())
}

/// What a subscriber receives.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub retained: bool,
    pub topic: String,
    pub content_type: String,
    pub expiry: String,
    pub payload: String,
}

impl Message {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.payload).unwrap()
    }
}

/// A `mosquitto_sub`, killed when dropped.
pub struct Subscriber {
    child: Child,
    messages: Receiver<Message>,
}

impl Subscriber {
    /// Subscribes to everything, directly at the broker, and waits until that is so.
    pub fn start(port: u16, options: &[&str]) -> Self {
        let port = port.to_string();
        let mut child = Command::new("mosquitto_sub")
            .args([
                "-V",
                "mqttv5",
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-t",
                "#",
                "-q",
                "0",
            ])
            .args(["-F", "%r|%t|%C|%E|%p"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let parts: Vec<_> = line.splitn(5, '|').map(str::to_owned).collect();
                let [retained, topic, content_type, expiry, payload] = parts.try_into().unwrap();
                let retained = retained == "1";
                let message = Message {
                    retained,
                    topic,
                    content_type,
                    expiry,
                    payload,
                };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut subscriber = Self { child, messages };
        let mut retained = Vec::new();
        wait_for("the subscription", || {
            let ended = subscriber.child.try_wait().unwrap();
            assert!(ended.is_none(), "mosquitto_sub ended: {ended:?}");
            let mut publish = Command::new("mosquitto_pub");
            publish.args(["-h", "127.0.0.1", "-p", &port, "-t", "ready", "-m", "ready"]);
            publish
                .args(options)
                .stderr(Stdio::null())
                .status()
                .unwrap();
            while let Ok(message) = subscriber.messages.recv_timeout(Duration::from_millis(100)) {
                if message.topic == "ready" {
                    return true;
                }
                retained.push(message);
            }
            false
        });
        // What came at once is put back in front.
        let (sender, messages) = channel();
        retained
            .into_iter()
            .for_each(|message| sender.send(message).unwrap());
        let rest = std::mem::replace(&mut subscriber.messages, messages);
        std::thread::spawn(move || {
            rest.into_iter()
                .try_for_each(|message| sender.send(message))
        });
        subscriber
    }

    /// Messages up to and with the first that fits.
    pub fn until(&self, what: &str, fits: impl Fn(&Message) -> bool) -> Vec<Message> {
        let begun = Instant::now();
        let mut received = Vec::new();
        loop {
            let left = DEADLINE.saturating_sub(begun.elapsed());
            let Ok(message) = self.messages.recv_timeout(left) else {
                panic!("{what}: has not come; received: {received:#?}");
            };
            let last = fits(&message);
            if message.topic != "ready" {
                received.push(message);
            }
            if last {
                return received;
            }
        }
    }

    /// Messages until none has come for so long.
    pub fn drain(&self, quiet: Duration) -> Vec<Message> {
        std::iter::from_fn(|| self.messages.recv_timeout(quiet).ok()).collect()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line to the broker that can be closed, which cuts what runs over it, and opened again.
pub struct Line {
    pub port: u16,
    state: Arc<Mutex<LineState>>,
}

struct LineState {
    open: bool,
    ends: Vec<TcpStream>,
}

impl Line {
    pub fn new(broker: u16, open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(LineState {
            open,
            ends: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let mut state = shared.lock().unwrap();
                if !state.open {
                    continue;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", broker)) else {
                    continue;
                };
                for end in [&near, &far] {
                    end.set_nodelay(true).unwrap();
                    state.ends.push(end.try_clone().unwrap());
                }
                forward(near.try_clone().unwrap(), far.try_clone().unwrap());
                forward(far, near);
            }
        });
        Self { port, state }
    }

    pub fn open(&self) {
        self.state.lock().unwrap().open = true;
    }

    pub fn close(&self) {
        let mut state = self.state.lock().unwrap();
        state.open = false;
        for end in state.ends.drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
