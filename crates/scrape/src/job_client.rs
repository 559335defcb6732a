use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use kvass_config::ScrapeConfig;
use kvass_exposition::{CountOptions, Format, MAX_SCHEMA};
use kvass_model::{Labels, PrometheusLine};
use tokio::time::Instant;

use crate::{ClientError, ClientOptions, HttpClient, Response, ScrapeError};

/// The header in which Prometheus tells a target how long it will wait, in seconds.
pub const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// An encoding that Prometheus 3 knows and refuses unless told otherwise.
const ZSTD: &str = "zstd";

const PROTOBUF: &str = "application/vnd.google.protobuf";

/// Headers that concern one hop only, or that each request sets for itself.
const OWN_HEADERS: [HeaderName; 11] = [
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// How the targets of one job are scraped.
#[derive(Clone, Debug)]
pub struct JobClient {
    job: Arc<ScrapeConfig>,
    http: HttpClient,
    body_size_limit: u64,
}

impl JobClient {
    /// A client of its own for `job`. [`JobClients`](crate::JobClients) shares clients between jobs.
    ///
    /// # Errors
    /// When the job's HTTP settings are unusable.
    pub fn new(job: &Arc<ScrapeConfig>, options: &ClientOptions) -> Result<Self, ClientError> {
        Ok(JobClient::with_client(job, HttpClient::new(&job.http, options)?, options))
    }

    pub(crate) fn with_client(job: &Arc<ScrapeConfig>, http: HttpClient, options: &ClientOptions) -> Self {
        JobClient { job: Arc::clone(job), http, body_size_limit: job.body_size_limit.unwrap_or(options.body_size_limit) }
    }

    /// The job this client was built for.
    pub fn job(&self) -> &Arc<ScrapeConfig> {
        &self.job
    }

    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// One scrape. Returns once the headers are in; the body is read through [`Response::chunk`] within the
    /// same `timeout`.
    ///
    /// `headers` is what Prometheus sent (hop-by-hop headers are dropped here) or
    /// [`default_headers`](Self::default_headers). `Accept-Encoding` is decided by the job.
    ///
    /// # Errors
    /// Any status but 200 is one, as for Prometheus, and a body in zstd.
    pub async fn scrape(&self, url: &str, mut headers: HeaderMap, timeout: Duration) -> Result<Response, ScrapeError> {
        remove_hop_by_hop(&mut headers, &OWN_HEADERS);
        let encoding = if self.job.enable_compression { "gzip" } else { "identity" };
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        let accepted = headers.get(header::ACCEPT).cloned();
        let response = self.http.get_limited(url, headers, Instant::now() + timeout, self.body_size_limit).await?;
        if response.status() != StatusCode::OK {
            return Err(ScrapeError::Status(response.status()));
        }
        if response.headers().get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding == ZSTD) {
            return Err(ScrapeError::Encoding { encoding: ZSTD });
        }
        Ok(response.with_accepted(accepted))
    }

    /// What Prometheus would send for this job: `Accept`, `User-Agent` and the timeout.
    pub fn default_headers(&self, timeout: Duration, user_agent: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let seconds = timeout.as_secs_f64().to_string();
        for (name, value) in
            [(header::ACCEPT, self.job.accept.as_str()), (header::USER_AGENT, user_agent), (TIMEOUT_HEADER, &seconds)]
        {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        headers
    }

    /// How a body of this job is counted for a Prometheus of `line`. `labels` are the target's labels after
    /// relabelling, `response` is the answer of the target.
    ///
    /// # Errors
    /// [`ScrapeError::ContentType`] when that Prometheus has no parser for the body. An empty body is a
    /// good scrape all the same.
    pub fn count_options(&self, labels: &Labels, response: &Response, line: PrometheusLine) -> Result<CountOptions, ScrapeError> {
        let job = &*self.job;
        let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        // Prometheus 2 has no such setting but a flag, without which it asks for no protobuf.
        let asks_for_protobuf =
            || response.accepted().and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains(PROTOBUF));
        let of_target = |label, of_job| match line {
            PrometheusLine::V2 => of_job,
            PrometheusLine::V3 => labels.get(label).and_then(go_boolean).unwrap_or(of_job),
        };
        let format = Format::of_content_type(content_type, line, job.fallback_scrape_protocol.as_deref())
            .ok_or_else(|| ScrapeError::ContentType { content_type: content_type.unwrap_or_default().to_owned() })?;
        Ok(CountOptions {
            format,
            line,
            target_labels: labels.public(),
            honor_labels: job.honor_labels,
            metric_relabel_configs: Arc::clone(&job.metric_relabel_configs),
            utf8_names: job.utf8_names && line != PrometheusLine::V2,
            label_limit: job.label_limit,
            label_name_length_limit: job.label_name_length_limit,
            label_value_length_limit: job.label_value_length_limit,
            sample_limit: job.sample_limit,
            honor_timestamps: job.honor_timestamps,
            native_histograms: match line {
                PrometheusLine::V2 => asks_for_protobuf(),
                PrometheusLine::V3 => of_target("__scrape_native_histograms__", job.scrape_native_histograms),
            },
            native_bucket_limit: job.native_histogram_bucket_limit,
            native_max_schema: finest_schema(job.native_histogram_min_bucket_factor),
            always_classic: of_target("__always_scrape_classic_histograms__", job.always_scrape_classic_histograms),
            convert_nhcb: of_target("__convert_classic_histograms_to_nhcb__", job.convert_classic_histograms_to_nhcb),
            per_metric: false,
        })
    }
}

/// The finest schema of native histograms whose buckets grow by at least `factor`.
fn finest_schema(factor: f64) -> i32 {
    if factor <= 1.0 {
        return MAX_SCHEMA;
    }
    let schema = -factor.log2().log2();
    // A cast to an integer takes what is no number for zero, and ends at the bounds.
    (schema.floor() as i32).clamp(-4, MAX_SCHEMA)
}

/// A boolean as Go reads it.
fn go_boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Removes the headers that end at every hop: `names`, and whatever `Connection` lists.
pub fn remove_hop_by_hop(headers: &mut HeaderMap, names: &[HeaderName]) {
    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in listed.iter().chain(names) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_by_growth() {
        let schemas = [0.0, 1.0, 1.0001, 1.1, 2.0, 65536.0, 1e300].map(finest_schema);
        assert_eq!(schemas, [8, 8, 8, 2, 0, -4, -4]);
    }

    #[test]
    fn hop_by_hop_headers_stay_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("accept", "text/plain"),
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("proxy-authorization", "Basic eDp5"),
            ("proxy-connection", "keep-alive"),
            ("host", "other"),
            ("accept-encoding", "zstd"),
            ("traceparent", "00-1-2-01"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        remove_hop_by_hop(&mut headers, &OWN_HEADERS);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "traceparent"]);
    }
}
