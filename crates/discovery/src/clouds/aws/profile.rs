//! The files that AWS' tools share: `~/.aws/credentials` and `~/.aws/config`.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{environment::Environment, refresh::RefreshError};

/// What one profile says, by key in lower case.
#[derive(Debug, Default)]
pub(super) struct Profile(BTreeMap<String, String>);

impl Profile {
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// The profile that counts when none is named.
pub(super) fn usual_name(environment: &Environment) -> String {
    environment.first_of(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]).unwrap_or_else(|| "default".to_owned())
}

/// Reads a profile; `None` if neither file has it. What stands in the credentials file wins. A file that does not
/// exist is empty.
pub(super) async fn read(environment: &Environment, name: &str) -> Result<Option<Profile>, RefreshError> {
    let path =
        |variable: &str, usual: &str| environment.variable(variable).map(PathBuf::from).or_else(|| environment.below_home(usual));
    let config = text(path("AWS_CONFIG_FILE", ".aws/config")).await?;
    let credentials = text(path("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")).await?;
    let prefixed = format!("profile {name}");
    let of_config = section(&config, &prefixed).or_else(|| section(&config, name).filter(|_| name == "default"));
    let of_credentials = section(&credentials, name);
    if of_config.is_none() && of_credentials.is_none() {
        return Ok(None);
    }
    let pairs = of_config.into_iter().chain(of_credentials).flatten();
    Ok(Some(Profile(pairs.collect())))
}

async fn text(path: Option<PathBuf>) -> Result<String, RefreshError> {
    let Some(path) = path else { return Ok(String::new()) };
    match tokio::fs::read_to_string(&path).await {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(RefreshError::Other(format!("{}: {error}", path.display()))),
    }
}

/// The keys below `[name]`, of all its occurrences. Indented lines belong to settings of other tools.
fn section(text: &str, name: &str) -> Option<BTreeMap<String, String>> {
    let mut found = None;
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with(['#', ';']) || line.starts_with(char::is_whitespace) {
            continue;
        }
        if let Some(title) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = title.split_whitespace().eq(name.split_whitespace());
            if inside {
                found.get_or_insert_with(BTreeMap::new);
            }
        } else if inside && let Some((key, value)) = line.split_once('=') {
            let value = value.split(" #").next().and_then(|value| value.split(" ;").next()).unwrap_or_default();
            found.get_or_insert_with(BTreeMap::new).insert(key.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use kvass_config::HttpClientConfig;

    use super::*;

    #[tokio::test]
    async fn profiles_of_both_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".aws")).unwrap();
        let config = "[default]\nregion = eu-west-1\nAWS_Access_Key_Id=of-config\ns3 =\n  region = nested\n# region = no\n\
            [profile  ops]\nrole_arn=arn:x ; a note\nsource_profile = default # another\n[other]\nregion = never\n";
        std::fs::write(dir.path().join(".aws/config"), config).unwrap();
        let credentials = "[default]\naws_access_key_id = of-credentials\naws_secret_access_key = a=b/c+d==\n[other]\n";
        std::fs::write(dir.path().join(".aws/credentials"), credentials).unwrap();
        let home = dir.path().display().to_string();
        let environment = Environment::new(move |name| (name == "HOME").then(|| home.clone()), HttpClientConfig::default());
        assert_eq!(usual_name(&environment), "default");
        let default = read(&environment, "default").await.unwrap().unwrap();
        let values = ["region", "aws_access_key_id", "aws_secret_access_key", "s3"].map(|key| default.get(key));
        assert_eq!(values, [Some("eu-west-1"), Some("of-credentials"), Some("a=b/c+d=="), None]);
        let ops = read(&environment, "ops").await.unwrap().unwrap();
        assert_eq!((ops.get("role_arn"), ops.get("source_profile")), (Some("arn:x"), Some("default")));
        assert_eq!(read(&environment, "other").await.unwrap().unwrap().get("region"), None, "needs the word profile");
        assert!(read(&environment, "absent").await.unwrap().is_none());
    }
}
