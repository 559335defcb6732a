//! The API of Kubernetes, as administrator.

use std::time::Duration;

use anyhow::Context;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

/// Longest wait for one answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);

/// The type of a change that names the members to be replaced.
pub(crate) const MERGE: &str = "application/merge-patch+json";
/// The type of a change that names everything its sender wants.
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// A server that takes us for an administrator.
#[derive(Clone)]
pub(crate) struct Api {
    base: String,
    http: reqwest::Client,
}

impl Api {
    /// One that asks for no credentials: `kubectl proxy`.
    pub(crate) fn open(base: String) -> anyhow::Result<Self> {
        Ok(Api { base, http: reqwest::Client::builder().timeout(ANSWER).no_proxy().build()? })
    }

    /// One whose certificate is of that authority, with a client certificate and its key; all PEM.
    pub(crate) fn secured(base: String, authority: &str, identity: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(authority.as_bytes())?])
            .identity(reqwest::Identity::from_pem(identity.as_bytes())?)
            // A hundred thousand objects are made through it, on a busy machine.
            .timeout(12 * ANSWER)
            .no_proxy()
            .build()?;
        Ok(Api { base, http })
    }

    /// Where it is.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// An object or a list.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        serde_json::from_str(&self.text(path).await?).with_context(|| format!("GET {path}: not JSON"))
    }

    /// A text.
    pub(crate) async fn text(&self, path: &str) -> anyhow::Result<String> {
        accepted("GET", path, self.request(Method::GET, path).send().await?).await
    }

    /// Creates an object, or asks for something; the answer.
    pub(crate) async fn post(&self, path: &str, object: &Value) -> anyhow::Result<Value> {
        let request = self.request(Method::POST, path).header("content-type", "application/json").body(object.to_string());
        let answer = accepted("POST", path, request.send().await?).await.with_context(|| object.to_string())?;
        serde_json::from_str(&answer).with_context(|| format!("POST {path}: not JSON"))
    }

    /// Sends a change of an object, of the kind that the content type says.
    pub(crate) async fn patch(&self, path: &str, content_type: &str, change: &Value) -> anyhow::Result<()> {
        let request = self.request(Method::PATCH, path).header("content-type", content_type).body(change.to_string());
        accepted("PATCH", path, request.send().await?).await.with_context(|| change.to_string())?;
        Ok(())
    }

    /// Deletes an object without grace; one that is not there is no error.
    pub(crate) async fn delete_now(&self, path: &str) -> anyhow::Result<()> {
        let answer = self.request(Method::DELETE, &format!("{path}?gracePeriodSeconds=0")).send().await?;
        if answer.status() != StatusCode::NOT_FOUND {
            accepted("DELETE", path, answer).await?;
        }
        Ok(())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }
}

async fn accepted(method: &str, path: &str, answer: reqwest::Response) -> anyhow::Result<String> {
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    anyhow::ensure!(status.is_success(), "{method} {path}: {status}: {text}");
    Ok(text)
}
