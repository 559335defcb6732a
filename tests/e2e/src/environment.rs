use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// Where the cluster is, and what may be done with the machine it runs on.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    /// Credentials of an administrator.
    pub(crate) kubeconfig: PathBuf,
    /// `kubectl`, by path or by name.
    pub(crate) kubectl: PathBuf,
    /// The API server's audit log, where it is ours.
    pub(crate) audit_log: Option<PathBuf>,
    /// The cluster's own script, where the cluster is ours.
    pub(crate) machine: Option<Machine>,
    /// Root of this checkout.
    pub(crate) checkout: PathBuf,
}

/// A cluster that we brought up ourselves.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// `cluster.sh`.
    pub(crate) script: PathBuf,
    /// The run's identity.
    pub(crate) run: String,
}

impl Environment {
    /// Of a run that `cluster.sh up` described in `file`.
    pub(crate) fn of_run(file: &Path, checkout: PathBuf) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("--env={}", file.display()))?;
        let values = variables(&text);
        let value =
            |name: &str| values.get(name).cloned().with_context(|| format!("--env={}: expected a line {name}=…", file.display()));
        let bin = PathBuf::from(value("BIN")?);
        let script = values.get("CLUSTER_SH").map_or_else(|| checkout.join("tests/e2e/cluster/cluster.sh"), PathBuf::from);
        Ok(Self {
            kubeconfig: value("KUBECONFIG")?.into(),
            kubectl: bin.join("kubectl"),
            audit_log: values.get("AUDIT_LOG").map(PathBuf::from),
            machine: Some(Machine { script, run: value("RUN")? }),
            checkout,
        })
    }

    /// Of a cluster that is not ours: nothing of its machines can be touched.
    pub(crate) fn foreign(kubeconfig: PathBuf, checkout: PathBuf) -> Self {
        Self { kubeconfig, kubectl: "kubectl".into(), audit_log: None, machine: None, checkout }
    }
}

/// `NAME=value` lines; `export` and quotes are allowed, everything else is ignored.
fn variables(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, value) = line.trim().strip_prefix("export ").unwrap_or(line.trim()).split_once('=')?;
        let value = value.trim();
        let unquoted = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
        name.chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_')
            .then(|| (name.to_owned(), unquoted.unwrap_or(value).to_owned()))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_a_shell_file() {
        let text = "# a run\nRUN=r1\nexport BIN='/opt/bin'\nNODES=\"node1 node2\"\nif [ a = b ]; then\n";
        let want = [("BIN", "/opt/bin"), ("NODES", "node1 node2"), ("RUN", "r1")];
        assert_eq!(variables(text), want.map(|(n, v)| (n.to_owned(), v.to_owned())).into());
    }
}
