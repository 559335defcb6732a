use crate::refresh::RefreshError;

/// The parts of a resource's ID that lead to it.
#[derive(Debug, PartialEq)]
pub(super) struct Resource<'a> {
    /// Resource group; empty for what has none.
    pub(super) group: &'a str,
    pub(super) name: &'a str,
}

impl<'a> Resource<'a> {
    pub(super) fn parse(id: &'a str) -> Result<Self, RefreshError> {
        let segments: Vec<&str> = id.trim_matches('/').split('/').collect();
        let group = segments.windows(2).find(|pair| pair[0].eq_ignore_ascii_case("resourceGroups")).map(|pair| pair[1]);
        match segments[..] {
            [subscriptions, _, .., name] if id.starts_with('/') && subscriptions.eq_ignore_ascii_case("subscriptions") => {
                Ok(Resource { group: group.unwrap_or_default(), name })
            }
            _ => Err(RefreshError::Other(format!("resource {id:?}: expected an ID that begins with /subscriptions/"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let id = "/subscriptions/S/resourcegroups/My-Group/providers/Microsoft.Network/networkInterfaces/nic-1";
        assert_eq!(Resource::parse(id).unwrap(), Resource { group: "My-Group", name: "nic-1" });
        for bad in ["", "/", "nic-1", "subscriptions/S/nic", "/providers/x/y"] {
            assert!(Resource::parse(bad).is_err(), "{bad}");
        }
    }
}
