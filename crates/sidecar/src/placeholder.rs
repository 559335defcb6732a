//! What Prometheus starts with while there is no configuration for it. Prometheus ends where its file is
//! missing, and it is started together with us.

use std::{fs, io, path::Path};

use kvass_config::{Injection, PrometheusRelease, TargetDelivery};
use kvass_model::{Labels, PrometheusLine};
use kvass_service::{
    config_file::{self, chain},
    write_atomically,
};

/// Nothing in it is secret, and Prometheus may be another user.
const MODE: u32 = 0o644;

/// Writes a configuration without jobs to `output`, unless there is a file already: that is of a time when
/// all was well, and Prometheus goes on with it. A failure is logged; whatever is written later meets it again.
pub(crate) fn write_if_missing(output: &Path, external_labels: &Labels, line: PrometheusLine) {
    if fs::symlink_metadata(output).is_ok() {
        return;
    }
    let written = text(output, external_labels, line).and_then(|text| {
        if let Some(folder) = output.parent() {
            fs::create_dir_all(folder)?;
        }
        write_atomically(output, text.as_bytes(), MODE)
    });
    match written {
        Ok(()) => tracing::info!(file = %output.display(), "configuration without jobs written for the start of prometheus"),
        Err(error) => tracing::error!(file = %output.display(), %error, "no file can be written for prometheus"),
    }
}

/// With this shard's external labels: a Thanos sidecar ends where there are none, so without any there is
/// the one of the original's placeholder.
fn text(output: &Path, external_labels: &Labels, line: PrometheusLine) -> io::Result<String> {
    let default = Labels::from([("status", "default")]);
    let labels = if external_labels.is_empty() { &default } else { external_labels };
    let config = config_file::parse_text("{}", output, PrometheusRelease { line, knows_more: false })
        .map_err(|error| io::Error::other(chain(&error)))?;
    Ok(config.inject(&Injection {
        proxy_url: None,
        targets: TargetDelivery::Static(Default::default()),
        extra_external_labels: labels.clone(),
        self_monitor: None,
        strip_rules: false,
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn is_a_configuration_with_labels_and_never_replaces_one() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("new/out.yml");
        for (labels, expected) in [
            (Labels::default(), "scrape_configs: []\nglobal:\n  external_labels:\n    status: default\n"),
            (
                Labels::from([("shard", "prometheus-rep-0-3")]),
                "scrape_configs: []\nglobal:\n  external_labels:\n    shard: \"prometheus-rep-0-3\"\n",
            ),
        ] {
            write_if_missing(&output, &labels, PrometheusLine::V3);
            assert_eq!(fs::read_to_string(&output).unwrap(), expected);
            assert_eq!(fs::metadata(&output).unwrap().permissions().mode() & 0o777, 0o644);
            fs::remove_file(&output).unwrap();
        }
        fs::write(&output, "a config of before").unwrap();
        write_if_missing(&output, &Labels::default(), PrometheusLine::V2);
        assert_eq!(fs::read_to_string(&output).unwrap(), "a config of before");
    }
}
