use std::fmt;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

/// What every answer of both APIs is wrapped in, in the member order of the original.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// `bad_data` or `internal`; absent on success.
    #[serde(rename = "errorType", default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<ErrorType>,
    /// Text for the operator; absent on success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The result; absent for commands without one.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub data: Option<T>,
    /// `success` or `error`.
    pub status: String,
}

fn none<T>() -> Option<T> {
    None
}

/// Class of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// The request is wrong: 400.
    BadData,
    /// We, or something behind us, failed: 503.
    Internal,
}

/// A failure as both APIs report it.
#[derive(Clone, Debug)]
pub struct ApiError {
    kind: ErrorType,
    message: String,
}

/// What a handler returns.
pub type ApiResult = Result<Response, ApiError>;

impl ApiError {
    /// The request is wrong (400).
    pub fn bad_data(message: impl fmt::Display) -> Self {
        ApiError { kind: ErrorType::BadData, message: message.to_string() }
    }

    /// Something behind us failed (503).
    pub fn internal(message: impl fmt::Display) -> Self {
        ApiError { kind: ErrorType::Internal, message: message.to_string() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match self.kind {
            ErrorType::BadData => StatusCode::BAD_REQUEST,
            ErrorType::Internal => StatusCode::SERVICE_UNAVAILABLE,
        };
        let envelope =
            Envelope::<()> { error_type: Some(self.kind), error: Some(self.message), data: None, status: "error".to_owned() };
        json_response(status, &envelope)
    }
}

/// A successful answer with a result.
pub fn ok<T: Serialize>(data: T) -> Response {
    json_response(StatusCode::OK, &Envelope { error_type: None, error: None, data: Some(data), status: "success".to_owned() })
}

/// A successful answer without a result.
pub fn ok_empty() -> Response {
    json_response(StatusCode::OK, &Envelope::<()> { error_type: None, error: None, data: None, status: "success".to_owned() })
}

/// Reads a JSON request body as Go does (member names in any case), or answers 400.
pub fn json_body<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    crate::case_insensitive(body).map_err(|error| ApiError::bad_data(format_args!("bind json: {error}")))
}

fn json_response<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let (status, text) = match serde_json::to_string(value) {
        Ok(text) => (status, escape_html(text)),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{{\"status\":\"error\",\"error\":\"encode answer: {error}\"}}"))
        }
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

/// Go's encoder escapes these three wherever they stand; outside of strings they cannot.
fn escape_html(text: String) -> String {
    if !text.contains(['<', '>', '&']) {
        return text;
    }
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(response: Response) -> (StatusCode, String) {
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn answers_look_like_the_original() {
        assert_eq!(text(ok_empty()).await, (StatusCode::OK, r#"{"status":"success"}"#.to_owned()));
        assert_eq!(text(ok(["<a>"])).await.1, r#"{"data":["\u003ca\u003e"],"status":"success"}"#);
        assert_eq!(
            text(ApiError::bad_data("reload failed: x").into_response()).await,
            (StatusCode::BAD_REQUEST, r#"{"errorType":"bad_data","error":"reload failed: x","status":"error"}"#.to_owned())
        );
        assert_eq!(text(ApiError::internal("x").into_response()).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
}
