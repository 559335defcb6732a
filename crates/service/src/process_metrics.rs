//! The `process_*` metrics every Prometheus exporter shows, read from `/proc/self`.

use std::fs;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

#[derive(Debug)]
pub(crate) struct ProcessCollector;

/// Clock ticks per second, as the kernel reports times to user space; fixed at 100 on Linux.
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE_BYTES: i64 = 4096;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(process) = Process::read() else { return Ok(()) };
        let cpu = ConstCounter::new(process.cpu_seconds);
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", "CPU time spent, seconds", None, cpu.metric_type())?)?;
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory", process.resident_bytes),
            ("process_virtual_memory_bytes", "Virtual memory", process.virtual_bytes),
            ("process_open_fds", "Open file descriptors", process.open_fds),
            ("process_max_fds", "Limit of open file descriptors", process.max_fds),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        for (name, help, value) in [
            ("process_virtual_memory_max_bytes", "Limit of virtual memory", process.max_virtual_bytes),
            ("process_start_time_seconds", "Start, Unix time", process.start_seconds),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

struct Process {
    cpu_seconds: f64,
    start_seconds: f64,
    resident_bytes: i64,
    virtual_bytes: i64,
    /// No limit is the largest 64-bit number, as other exporters have it.
    max_virtual_bytes: f64,
    open_fds: i64,
    max_fds: i64,
}

impl Process {
    fn read() -> Option<Process> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the command in parentheses and may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |index: usize| fields.get(index - 3)?.parse::<f64>().ok();
        let boot_seconds: f64 =
            fs::read_to_string("/proc/stat").ok()?.lines().find_map(|l| l.strip_prefix("btime "))?.parse().ok()?;
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        let limit = |name: &str| limits.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        Some(Process {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            start_seconds: boot_seconds + field(22)? / TICKS_PER_SECOND,
            virtual_bytes: field(23)? as i64,
            resident_bytes: field(24)? as i64 * PAGE_BYTES,
            open_fds: i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).unwrap_or(i64::MAX),
            max_fds: limit("Max open files").and_then(|limit| limit.parse().ok()).unwrap_or(-1),
            max_virtual_bytes: limit("Max address space").and_then(|limit| limit.parse().ok()).unwrap_or(u64::MAX as f64),
        })
    }
}
