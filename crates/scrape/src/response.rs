use std::io;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::{
    Phase, ScrapeError,
    deadline::Deadline,
    error_chain::{chain, chain_text},
    gzip::GzipDecoder,
};

/// A response whose body is still on its way. Dropping it ends the exchange.
#[derive(Debug)]
pub struct Response {
    head: http::response::Parts,
    body: Incoming,
    gzip: Option<GzipDecoder>,
    deadline: Deadline,
    limit: u64,
    decoded: u64,
    accepted: Option<HeaderValue>,
}

impl Response {
    pub(crate) fn new(response: http::Response<Incoming>, deadline: Deadline, limit: u64) -> Self {
        let (head, body) = response.into_parts();
        // Prometheus compares exactly: any other encoding, `GZIP` included, is taken for plain text.
        let gzip = head.headers.get(header::CONTENT_ENCODING).is_some_and(|value| value == "gzip").then(GzipDecoder::default);
        Response { head, body, gzip, deadline, limit, decoded: 0, accepted: None }
    }

    /// Notes the `Accept` header this is the answer to.
    pub(crate) fn with_accepted(self, accepted: Option<HeaderValue>) -> Self {
        Response { accepted, ..self }
    }

    /// The `Accept` header of the request; unknown unless it was a scrape.
    pub fn accepted(&self) -> Option<&HeaderValue> {
        self.accepted.as_ref()
    }

    /// Status code.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// Headers as received; `Content-Encoding` and `Content-Length` describe the body before decoding.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Bytes of the decoded body handed out so far.
    pub fn decoded_bytes(&self) -> u64 {
        self.decoded
    }

    /// The next piece of the decoded body, never empty; `None` at its end. Memory stays flat however large
    /// or well compressed the body is.
    ///
    /// # Errors
    /// The deadline of the request, the body size limit, a body that is cut off, broken gzip. The response
    /// must not be read any further then.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ScrapeError> {
        loop {
            self.deadline.check(Phase::Body)?;
            if let Some(gzip) = &mut self.gzip {
                // Decoding buffered input never waits, so this is where other tasks get their turn.
                tokio::task::consume_budget().await;
                if let Some(piece) = gzip.read()? {
                    return self.account(piece).map(Some);
                }
                if gzip.is_finished() {
                    return Ok(None);
                }
            }
            let frame = self.deadline.limit(Phase::Body, self.body.frame()).await?;
            match (frame, &mut self.gzip) {
                (None, None) => return Ok(None),
                (None, Some(gzip)) => gzip.end(),
                (Some(Err(error)), _) => return Err(body_error(&error)),
                (Some(Ok(frame)), gzip) => match (frame.into_data(), gzip) {
                    (Ok(data), _) if data.is_empty() => {}
                    (Ok(data), None) => return self.account(data).map(Some),
                    (Ok(data), Some(gzip)) => gzip.feed(data),
                    // Trailers say nothing about metrics.
                    (Err(_), _) => {}
                },
            }
        }
    }

    fn account(&mut self, piece: Bytes) -> Result<Bytes, ScrapeError> {
        self.decoded = self.decoded.saturating_add(piece.len() as u64);
        if self.limit > 0 && self.decoded >= self.limit {
            return Err(ScrapeError::BodyTooLarge { limit: self.limit });
        }
        Ok(piece)
    }
}

/// Everything that can go wrong once the headers are in means that the body is not whole.
fn body_error(error: &hyper::Error) -> ScrapeError {
    let ended = |io: &io::Error| io.kind() == io::ErrorKind::UnexpectedEof;
    let problem = match chain(error).filter_map(|cause| cause.downcast_ref()).any(ended) {
        true => "the server closed the connection before the announced end".to_owned(),
        false => chain_text(error),
    };
    ScrapeError::Truncated { problem }
}
