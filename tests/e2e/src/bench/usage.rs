use std::fs;

use anyhow::Context;

/// What a process has used, in MiB and seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Memory at present.
    pub(crate) memory: f64,
    /// The most memory it ever had.
    pub(crate) peak: f64,
    /// Processor time.
    pub(crate) processor: f64,
}

impl Usage {
    /// Of a process that runs.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read_to_string(&path).with_context(|| path.clone())
        };
        parse(&read("status")?, &read("stat")?).with_context(|| format!("/proc/{pid}"))
    }
}

fn parse(status: &str, stat: &str) -> Option<Usage> {
    let mebibytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_start_matches(':').trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
    };
    // The name of the program, in parentheses, may hold anything.
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    // A hundred ticks a second wherever Linux runs.
    let processor = (ticks()? + ticks()?) / 100.0;
    Some(Usage { memory: mebibytes("VmRSS")?, peak: mebibytes("VmHWM")?, processor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_kernel_writes_it() {
        let status = "Name:\tkvass\nVmHWM:\t    4096 kB\nVmRSS:\t    2048 kB\nThreads:\t3\n";
        let stat = "17 (a) b) S 1 17 17 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 3 0 99 1 2";
        let usage = parse(status, stat).unwrap();
        assert!((usage.memory, usage.peak, usage.processor) == (2.0, 4.0, 2.0), "{usage:?}");
        assert!(parse("VmRSS: many", stat).is_none());
    }
}
