use std::fs;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::{Cluster, Pod};

impl Cluster {
    /// Kills our program in a pod as the kernel would: at once, without a word. The kubelet starts it again.
    pub(crate) fn kill(&self, pod: &Pod, command: &str) -> anyhow::Result<()> {
        anyhow::ensure!(self.environment().machine.is_some(), "the machine is not ours");
        tracing::info!("killing {command} of {}", pod.name);
        let pid = find(&pod.uid, command)?.with_context(|| format!("no process {command} of {}", pod.name))?;
        kill_process(pid, Signal::KILL).with_context(|| format!("killing {command} of {}", pod.name))
    }
}

/// The process of a pod, told by its cgroup, that runs `kvass <command>`.
fn find(uid: &str, command: &str) -> anyhow::Result<Option<Pid>> {
    for entry in fs::read_dir("/proc").context("/proc")? {
        let entry = entry.context("/proc")?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else { continue };
        // Processes end while we look.
        let (Ok(cgroup), Ok(arguments)) =
            (fs::read_to_string(entry.path().join("cgroup")), fs::read(entry.path().join("cmdline")))
        else {
            continue;
        };
        let mut words = arguments.split(|byte| *byte == 0);
        let is_ours = words.next().is_some_and(|program| program.ends_with(b"kvass")) && words.next() == Some(command.as_bytes());
        if is_ours && cgroup.contains(uid) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}
