//! The daemon as a process of its own, stopped when a test fails.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::Door;

/// Nothing takes nearly as long to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a program ended; none when it still runs.
pub fn end(child: &mut Child) -> Option<ExitStatus> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let status = child.try_wait().unwrap();
        if status.is_some() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// The daemon of `door`; its log goes to a file there.
    pub fn start(door: &Door, args: &[&str]) -> Self {
        Self::start_with(door, args, &[])
    }

    /// The same with more variables in its environment.
    pub fn start_with(door: &Door, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let command = door.command(args);
        let log = door.path(&format!("log-{}", ulid::Ulid::generate()));
        let mut real = Command::new(command.get_program());
        real.args(command.get_args())
            .envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))))
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap());
        let child = real.spawn().unwrap();
        Self { child, log }
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// Lines of the log with `words`.
    pub fn lines_with(&self, words: &str) -> usize {
        self.log().lines().filter(|l| l.contains(words)).count()
    }

    /// SIGTERM, and the exit status.
    pub fn stop(&mut self) -> Option<i32> {
        Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        self.wait()
    }

    /// The exit status.
    pub fn wait(&mut self) -> Option<i32> {
        match end(&mut self.child) {
            Some(status) => status.code(),
            None => panic!("does not end\n{}", self.log()),
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
