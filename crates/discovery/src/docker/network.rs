use std::{collections::BTreeMap, net::IpAddr};

use kvass_model::LabelsBuilder;
use serde::Deserialize;

use crate::{refresh::RefreshError, text::set_all};

/// A network, as `/networks` lists it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Network {
    pub(super) id: String,
    name: String,
    scope: String,
    internal: bool,
    ingress: bool,
    labels: BTreeMap<String, String>,
}

/// Adds what is known of the network with that id. `prefix` is that of the mechanism.
pub(super) fn set_network(labels: &mut LabelsBuilder, prefix: &str, networks: &[Network], id: &str) {
    let Some(network) = networks.iter().rev().find(|network| network.id == id) else { return };
    set_all(labels, &format!("{prefix}network_label_"), &network.labels);
    for (name, value) in [
        ("id", network.id.as_str()),
        ("ingress", if network.ingress { "true" } else { "false" }),
        ("internal", if network.internal { "true" } else { "false" }),
        ("name", &network.name),
        ("scope", &network.scope),
    ] {
        labels.set(&format!("{prefix}network_{name}"), value);
    }
}

/// The address in the usual spelling.
pub(super) fn canonical(address: &str) -> String {
    address.parse::<IpAddr>().map_or_else(|_| address.to_owned(), |address| address.to_string())
}

/// The address of `10.0.0.3/24`.
pub(super) fn address_of_prefix(prefix: &str) -> Result<String, RefreshError> {
    let parts = prefix.split_once('/').and_then(|(address, bits)| {
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits.parse::<u8>().ok()? <= most).then(|| address.to_string())
    });
    parts.ok_or_else(|| RefreshError::Body(format!("{prefix:?}: expected an address such as 10.0.0.3/24")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for (prefix, address) in [("10.0.0.3/24", "10.0.0.3"), ("fd00:0::3/64", "fd00::3"), ("10.0.0.3/32", "10.0.0.3")] {
            assert_eq!(address_of_prefix(prefix).unwrap(), address);
        }
        for prefix in ["", "10.0.0.3", "10.0.0.3/33", "10.0.0/8", "x/8", "10.0.0.3/"] {
            let error = address_of_prefix(prefix).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{prefix:?}")), "{error}");
        }
    }
}
