//! The forward proxy of every scrape: fetches the target with the job's own client and hands the body on
//! piece by piece, counting series as they pass. Nothing of a body is kept.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use jiff::Timestamp;
use kvass_exposition::SeriesCounter;
use kvass_model::{Health, Labels, SeriesCount, TargetHash};
use kvass_scrape::{JobClient, ScrapeError};

use crate::{
    lock,
    scrape_request::{Refusal, ScrapeRequest, timeout_of, url_of},
    shard::Shard,
    targets::{Found, Outcome, Scrape},
};

type Body = UnsyncBoxBody<Bytes, ScrapeError>;

/// Answers one request to the proxy.
pub(crate) async fn serve(shard: Arc<Shard>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    shard.metrics.proxied.inc();
    Ok(scrape(&shard, request).await.unwrap_or_else(|refusal| {
        tracing::debug!(status = refusal.status.as_u16(), reason = %refusal.reason, "scrape not served");
        refused(refusal)
    }))
}

async fn scrape(shard: &Arc<Shard>, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let (head, _) = request.into_parts();
    let scrape = ScrapeRequest::parse(&head.method, head.version, &head.uri)?;
    let found = lock(&shard.targets).find(scrape.hash, &scrape.job, Timestamp::now());
    let (labels, over_limit) = match found {
        Found::Target { labels, over_limit } => (labels, over_limit),
        Found::OtherJob => return Err(not_found(format!("target {} is not one of job {:?}", scrape.hash, scrape.job))),
        Found::Unknown => return Err(not_found(format!("target {} is not assigned to this shard", scrape.hash))),
    };
    scrape.check(&labels)?;

    let recorder = Recorder::new(shard, scrape.hash, &scrape.job);
    if let Some(reason) = shard.stop_reason() {
        recorder.failed("stopped", reason.clone());
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason));
    }
    let Some(client) = shard.clients.get(&scrape.job) else {
        let unusable = shard.why_unusable(&scrape.job);
        let status = if unusable.is_some() { StatusCode::BAD_GATEWAY } else { StatusCode::NOT_FOUND };
        let reason = unusable.unwrap_or_else(|| format!("job {:?} is not in the configuration", scrape.job));
        recorder.failed("job", reason.clone());
        return Err(Refusal::new(status, reason));
    };
    let url = url_of(&labels, client.job());
    let timeout = timeout_of(&labels, client.job(), &head.headers);
    let mut response = match client.scrape(&url, head.headers, timeout).await {
        Ok(response) => response,
        Err(error) => return Err(recorder.scrape_failed(error)),
    };
    let content_type = response.headers().get(header::CONTENT_TYPE).cloned();
    let counting = Counting::new(&client, &labels, &response, shard);
    if over_limit {
        return Err(read_only(response, counting, recorder).await);
    }
    // With the first piece at hand, a body that is no good from the start gets a status and a reason.
    match response.chunk().await {
        Ok(first) => Ok(forwarded(content_type, Forward { response, first, counting, recorder: Some(recorder) })),
        Err(error) => Err(recorder.scrape_failed(error)),
    }
}

/// Reads a body that was too large without handing it on: Prometheus pays for such a target once, not at
/// every interval.
async fn read_only(mut response: kvass_scrape::Response, mut counting: Counting, recorder: Recorder) -> Refusal {
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => counting.push(&chunk),
            Ok(None) => break,
            Err(error) => return recorder.scrape_failed(error),
        }
    }
    let reason = "the body was larger than the limit and fits again: handed on from the next scrape on".to_owned();
    recorder.finish(Outcome::FitsAgain(reason.clone()));
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason)
}

/// A body on its way to Prometheus.
struct Forward {
    response: kvass_scrape::Response,
    first: Option<Bytes>,
    counting: Counting,
    /// Taken when the outcome is known.
    recorder: Option<Recorder>,
}

impl Forward {
    async fn next(&mut self) -> Option<Result<Bytes, ScrapeError>> {
        self.recorder.as_ref()?;
        let next = match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.response.chunk().await,
        };
        match next {
            Ok(Some(chunk)) => {
                self.counting.push(&chunk);
                Some(Ok(chunk))
            }
            Ok(None) => {
                let counting = std::mem::replace(&mut self.counting, Counting::Rejected(String::new()));
                self.recorder.take()?.counted(counting);
                None
            }
            // An error ends the connection without the last chunk, so Prometheus cannot mistake what it
            // has for a whole body.
            Err(error) => {
                self.recorder.take()?.scrape_failed(error.clone());
                Some(Err(error))
            }
        }
    }
}

fn forwarded(content_type: Option<HeaderValue>, forward: Forward) -> Response<Body> {
    let pieces = stream::unfold(forward, async |mut forward| Some((forward.next().await?.map(Frame::data), forward)));
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    if let Some(content_type) = content_type {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}

fn refused(refusal: Refusal) -> Response<Body> {
    let text = format!("{}\n", refusal.reason);
    let mut response = Response::new(Full::from(text).map_err(|never: Infallible| match never {}).boxed_unsync());
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
    }
    response
}

fn not_found(reason: String) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, reason)
}

/// Counting series until the body turns out to be one that Prometheus rejects. It is handed on all the
/// same: Prometheus judges for itself.
enum Counting {
    Running(Box<SeriesCounter>),
    /// Nothing came yet that Prometheus would look at.
    Unparsable(String),
    Rejected(String),
}

impl Counting {
    fn new(client: &JobClient, labels: &Labels, response: &kvass_scrape::Response, shard: &Shard) -> Self {
        match client.count_options(labels, response, shard.line()) {
            Ok(options) => Counting::Running(Box::new(SeriesCounter::new(options))),
            Err(error) => Counting::Unparsable(error.to_string()),
        }
    }

    fn push(&mut self, chunk: &[u8]) {
        let rejected = match self {
            Counting::Running(counter) => counter.push(chunk).err().map(|error| error.to_string()),
            Counting::Unparsable(reason) => Some(std::mem::take(reason)),
            Counting::Rejected(_) => None,
        };
        if let Some(reason) = rejected {
            *self = Counting::Rejected(reason);
        }
    }

    fn finish(self) -> Result<SeriesCount, String> {
        match self {
            Counting::Running(counter) => counter.finish().map(|counts| counts.count).map_err(|error| error.to_string()),
            // An empty body is a good scrape whatever its type.
            Counting::Unparsable(_) => Ok(SeriesCount::default()),
            Counting::Rejected(reason) => Err(reason),
        }
    }
}

/// Notes how a scrape ended. One that is dropped before that was given up by Prometheus.
struct Recorder {
    shard: Arc<Shard>,
    hash: TargetHash,
    job: String,
    start: Timestamp,
    started: Instant,
    noted: bool,
}

impl Recorder {
    fn new(shard: &Arc<Shard>, hash: TargetHash, job: &str) -> Self {
        let (shard, job) = (Arc::clone(shard), job.to_owned());
        Recorder { shard, hash, job, start: Timestamp::now(), started: Instant::now(), noted: false }
    }

    fn counted(self, counting: Counting) {
        match counting.finish() {
            Ok(count) => self.finish(Outcome::Up(count)),
            Err(reason) => self.failed("format", reason),
        }
    }

    /// Notes the failure and says how to answer, if there still is an answer to give.
    fn scrape_failed(self, error: ScrapeError) -> Refusal {
        let reason = error.to_string();
        self.shard.metrics.proxy_failed(error.kind());
        let (status, outcome) = match error {
            ScrapeError::BodyTooLarge { .. } => (StatusCode::BAD_GATEWAY, Outcome::OverLimit(reason.clone())),
            ScrapeError::Timeout { .. } => (StatusCode::GATEWAY_TIMEOUT, Outcome::Down(reason.clone())),
            // The target's own answer, unless it would look like a success or an answer of HTTP itself.
            ScrapeError::Status(status) if status.is_client_error() || status.is_server_error() => {
                (status, Outcome::Down(reason.clone()))
            }
            _ => (StatusCode::BAD_GATEWAY, Outcome::Down(reason.clone())),
        };
        self.finish(outcome);
        Refusal::new(status, reason)
    }

    fn failed(self, cause: &'static str, reason: String) {
        self.shard.metrics.proxy_failed(cause);
        self.finish(Outcome::Down(reason));
    }

    fn finish(mut self, outcome: Outcome) {
        self.note(outcome);
    }

    fn note(&mut self, outcome: Outcome) {
        self.noted = true;
        let error = match &outcome {
            Outcome::Up(_) => String::new(),
            Outcome::Down(reason) | Outcome::OverLimit(reason) | Outcome::FitsAgain(reason) => reason.clone(),
        };
        let duration: Duration = self.started.elapsed();
        let change = lock(&self.shard.targets).record(self.hash, Scrape { start: self.start, duration, outcome });
        // Only changes: a target may be down for months.
        match change {
            Some(change) if change.to == Health::Down => {
                tracing::warn!(job = %self.job, hash = %self.hash, %error, "target is down")
            }
            Some(change) if change.from == Health::Down => {
                tracing::info!(job = %self.job, hash = %self.hash, "target is up again")
            }
            _ => {}
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.noted {
            self.shard.metrics.proxy_failed("cancelled");
            self.note(Outcome::Down("prometheus closed the connection before the scrape was over".to_owned()));
        }
    }
}
