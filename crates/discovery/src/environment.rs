//! What a process is given beside its configuration.

use std::{fmt, path::PathBuf, sync::Arc};

use kvass_config::{HttpClientConfig, ProxyConfig};

/// The value of a variable, by its name.
type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

/// What the clients of cloud providers find in the process's surroundings.
#[derive(Clone)]
pub struct Environment {
    variables: Arc<Variables>,
    http: HttpClientConfig,
}

impl Environment {
    /// Variables by name, and how services are reached whose section has no settings for it.
    pub fn new(variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static, http: HttpClientConfig) -> Self {
        Environment { variables: Arc::new(variables), http }
    }

    /// The value of a variable that is not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        (self.variables)(name).filter(|value| !value.is_empty())
    }

    /// As [`Environment::variable`], of the first that has a value.
    pub(crate) fn first_of(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.variable(name))
    }

    /// A path below the home directory.
    pub(crate) fn below_home(&self, path: &str) -> Option<PathBuf> {
        self.variable("HOME").map(|home| PathBuf::from(home).join(path))
    }

    pub(crate) fn http(&self) -> &HttpClientConfig {
        &self.http
    }
}

impl Default for Environment {
    /// The process's own variables, and the proxy they name.
    fn default() -> Self {
        let proxy = ProxyConfig { from_environment: true, ..ProxyConfig::default() };
        Environment::new(|name| std::env::var(name).ok(), HttpClientConfig { proxy, ..HttpClientConfig::default() })
    }
}

impl fmt::Debug for Environment {
    /// Variables may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("http", &self.http).finish_non_exhaustive()
    }
}
