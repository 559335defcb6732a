use kvass_config::SecretSource;

use crate::ScrapeError;

/// The text of a secret. Files are read anew each time, so that rotated credentials are used at once, and
/// trimmed; `field` names the setting in the error.
pub(crate) async fn reveal(source: &SecretSource, field: &'static str) -> Result<String, ScrapeError> {
    match source {
        SecretSource::Inline(secret) => Ok(secret.reveal().to_owned()),
        SecretSource::File(path) => {
            let text = tokio::fs::read_to_string(path).await.map_err(|error| ScrapeError::Credentials {
                field,
                problem: format!("cannot read {}: {error}", path.display()),
            })?;
            Ok(text.trim().to_owned())
        }
    }
}

/// The text of an optional secret, empty when there is none.
pub(crate) async fn reveal_or_empty(source: Option<&SecretSource>, field: &'static str) -> Result<String, ScrapeError> {
    match source {
        Some(source) => reveal(source, field).await,
        None => Ok(String::new()),
    }
}
