use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::Deserialize;
use serde_json::Value;

use super::{PREFIX, session::Session};
use crate::{refresh::RefreshError, text::host_port};

pub(super) async fn targets(session: &Session<'_>, port: i64) -> Result<Vec<Labels>, RefreshError> {
    let url = format!("{}os-hypervisors/detail", session.endpoint("compute")?);
    let hypervisors: Vec<Hypervisor> = session.list(&url, "hypervisors").await?;
    Ok(hypervisors.iter().map(|hypervisor| hypervisor.target(port)).collect())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Hypervisor {
    /// A number, or since version 2.53 a text.
    id: Value,
    hypervisor_hostname: String,
    host_ip: String,
    status: String,
    state: String,
    hypervisor_type: String,
}

impl Hypervisor {
    fn target(&self, port: i64) -> Labels {
        let id = match &self.id {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            number => number.to_string(),
        };
        let mut labels = LabelsBuilder::new();
        labels.set(ADDRESS_LABEL, &host_port(&self.host_ip, port));
        for (name, value) in [
            ("host_ip", &self.host_ip),
            ("hostname", &self.hypervisor_hostname),
            ("id", &id),
            ("state", &self.state),
            ("status", &self.status),
            ("type", &self.hypervisor_type),
        ] {
            labels.set(&format!("{PREFIX}hypervisor_{name}"), value);
        }
        labels.build()
    }
}
