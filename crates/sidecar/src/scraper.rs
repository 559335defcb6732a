//! Which scraper the Prometheus beside this sidecar really is: vmagent has most of the same endpoints, and does not mean
//! the same by all of them. Pure.

use kvass_config::PrometheusRelease;

/// What is beside this sidecar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scraper {
    /// Prometheus, as a server or an agent.
    Prometheus(PrometheusRelease),
    /// vmagent. It reads files with targets, and asks for them by HTTP, once a minute; a reload has it look at once, and
    /// disturbs nothing that stays.
    Vmagent(Reloads),
}

/// What vmagent tells of its reloads. It says yes to every one, and reads the configuration afterwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reloads {
    /// Reloads that changed something.
    changed: f64,
    /// Reloads that failed.
    failed: f64,
    /// Whether the last one, the start included, took what it read.
    successful: bool,
}

/// How a reload that was asked for ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reload {
    Taken,
    Refused,
    /// Not read yet, or nothing was different.
    Unknown,
}

impl Reloads {
    /// From the metrics of vmagent; those of anything else have not all of them.
    pub(crate) fn of_metrics(text: &str) -> Option<Self> {
        let value = |name: &str| {
            let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
            line.rsplit(' ').next()?.parse::<f64>().ok()
        };
        Some(Reloads {
            changed: value("vm_promscrape_config_reloads_total")?,
            failed: value("vm_promscrape_config_reloads_errors_total")?,
            successful: value("vm_promscrape_config_last_reload_successful")? > 0.0,
        })
    }

    /// How the reload went that was asked for at the time of `before`.
    pub(crate) fn since(self, before: Reloads) -> Reload {
        let restarted = self.failed < before.failed || self.changed < before.changed;
        if self.failed > before.failed {
            Reload::Refused
        } else if restarted || self.changed > before.changed {
            self.unchanged()
        } else {
            Reload::Unknown
        }
    }

    /// What a reload was that has changed nothing for so long.
    pub(crate) fn unchanged(self) -> Reload {
        if self.successful { Reload::Taken } else { Reload::Refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(changed: u32, failed: u32, successful: u32) -> String {
        format!(
            "vm_promscrape_config_last_reload_successful {successful}\n\
             vm_promscrape_config_reloads_errors_total {failed}\n\
             vm_promscrape_config_reloads_total {changed}\n\
             vm_promscrape_config_last_reload_success_timestamp_seconds 1763860000\n"
        )
    }

    fn reloads(changed: u32, failed: u32, successful: u32) -> Reloads {
        Reloads::of_metrics(&metrics(changed, failed, successful)).unwrap()
    }

    #[test]
    fn vmagent_is_known_by_its_metrics() {
        assert_eq!(reloads(7, 2, 0), Reloads { changed: 7.0, failed: 2.0, successful: false });
        for other in ["", "prometheus_config_last_reload_successful 1\n", "vm_promscrape_config_reloads_total x\n"] {
            assert_eq!(Reloads::of_metrics(other), None, "{other}");
        }
        let part = metrics(1, 0, 1).replace("_errors_total", "_other_total");
        assert_eq!(Reloads::of_metrics(&part), None);
    }

    #[test]
    fn ends_of_a_reload() {
        let before = reloads(3, 1, 1);
        assert_eq!(reloads(4, 1, 1).since(before), Reload::Taken);
        assert_eq!(reloads(3, 2, 0).since(before), Reload::Refused);
        assert_eq!(reloads(3, 1, 1).since(before), Reload::Unknown);
        // Started again, it has read the configuration, too.
        assert_eq!(reloads(0, 0, 1).since(before), Reload::Taken);
        assert_eq!(reloads(3, 0, 0).since(before), Reload::Refused);
        assert_eq!(reloads(3, 1, 1).unchanged(), Reload::Taken);
        assert_eq!(reloads(3, 1, 0).unchanged(), Reload::Refused);
    }
}
