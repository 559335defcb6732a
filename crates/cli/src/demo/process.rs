//! Children of the demo: started in process groups of their own, so that the terminal's Ctrl-C reaches the
//! demo only, and recorded, so that the next demo finds them if this one is killed.

use std::{
    fs::{self, OpenOptions},
    io,
    path::Path,
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// How long a process may take to end after SIGTERM. A coordinator ends its shards meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process, told from a later one of the same pid by its start time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Clock ticks since boot, field 22 of `/proc/<pid>/stat`.
    pub(crate) start_time: u64,
}

impl Process {
    /// Starts a program, its output appended to `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> io::Result<Process> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut child =
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0).kill_on_drop(false).spawn()?;
        let ended = || io::Error::other("ended at once");
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or_else(ended)?;
        let (_, start_time) = stat(pid).ok_or_else(ended)?;
        // Reaps the child when it ends.
        tokio::spawn(async move { child.wait().await });
        Ok(Process { pid, start_time })
    }

    /// A zombie counts as ended: nobody has reaped it yet.
    pub(crate) fn is_running(&self) -> bool {
        stat(self.pid).is_some_and(|(state, start_time)| start_time == self.start_time && !matches!(state, 'Z' | 'X'))
    }

    /// Asks it to end, waits, and kills it if it does not.
    pub(crate) async fn end(&self) {
        self.signal(Signal::TERM);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.is_running() {
            if tokio::time::Instant::now() > deadline {
                self.signal(Signal::KILL);
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid)
            && self.is_running()
        {
            // It can only have ended in between, which is what is wanted.
            let _ = kill_process_group(pid, signal);
        }
    }
}

/// State letter and start time of a process.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in parentheses, may itself hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields.first()?.chars().next()?, fields.get(19)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn starts_recognises_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo started; sleep 1000"]);
        let process = Process::start(command, &log).unwrap();
        assert!(process.is_running());
        assert!(!Process { start_time: process.start_time + 1, ..process.clone() }.is_running(), "another process of that pid");
        while fs::read_to_string(&log).unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        process.end().await;
        assert!(!process.is_running());
        assert_eq!(fs::read_to_string(&log).unwrap(), "started\n");
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let started = runtime.block_on(async { Process::start(Command::new("/no/such/program"), &dir.path().join("log")) });
        assert_eq!(started.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
