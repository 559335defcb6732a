use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use kvass_config::{HttpClientConfig, SecretSource};
use tokio::time::Instant;

use crate::{
    ClientError, ClientOptions, Response, ScrapeError,
    auth::Auth,
    deadline::Deadline,
    endpoint::Endpoint,
    redirect::{self, MAX_REQUESTS},
    secret_source::reveal,
    transport::Transport,
};

/// An HTTP client with the settings of one `HttpClientConfig`: credentials, TLS, proxy, additional headers,
/// redirects. Cloning copies a pointer; clones share connections and tokens.
///
/// Files named in the settings are read for every request, so rotated credentials and certificates are
/// used at once.
#[derive(Clone, Debug)]
pub struct HttpClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: HttpClientConfig,
    transport: Transport,
    auth: Auth,
    headers: Vec<(HeaderName, Vec<SecretSource>)>,
    body_size_limit: u64,
}

impl HttpClient {
    /// Builds a client. Proxies of the environment are read here, if the settings ask for them.
    ///
    /// # Errors
    /// Settings that can never work: proxy URLs, TLS versions, inline certificates, header names, OAuth 2
    /// grant types. A missing file is not one of them; it fails requests until it appears.
    pub fn new(config: &HttpClientConfig, options: &ClientOptions) -> Result<Self, ClientError> {
        let http2 = config.enable_http2 && options.http2;
        let headers = config.http_headers.iter().map(|(name, sources)| match name.parse() {
            Ok(key) => Ok((key, sources.clone())),
            Err(_) => Err(ClientError::Header { field: "http_headers", name: name.clone() }),
        });
        Ok(HttpClient(Arc::new(Inner {
            transport: Transport::new(&config.tls, &config.proxy, options.scrape_proxy.as_deref(), http2, options.keep_alive)?,
            auth: Auth::new(config, http2)?,
            headers: headers.collect::<Result<_, _>>()?,
            body_size_limit: options.body_size_limit,
            config: config.clone(),
        })))
    }

    pub(crate) fn config(&self) -> &HttpClientConfig {
        &self.0.config
    }

    /// GET, following redirects if the settings say so. Returns once the headers are in, whatever the
    /// status. `deadline` covers connecting, headers and the body, which is read through
    /// [`Response::chunk`]. An `Authorization` in `headers` wins over the configured one. Values marked as sensitive
    /// follow no redirect to another host.
    ///
    /// # Errors
    /// Everything that prevents a response.
    pub async fn get(&self, url: &str, headers: HeaderMap, deadline: Instant) -> Result<Response, ScrapeError> {
        self.get_limited(url, headers, deadline, self.0.body_size_limit).await
    }

    /// As [`get`](Self::get), with POST and a body. A redirect that forgets the method is followed with GET and without
    /// the body, as browsers and Go do.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn post(&self, url: &str, headers: HeaderMap, body: Bytes, deadline: Instant) -> Result<Response, ScrapeError> {
        self.exchange(Content { method: Method::POST, headers, body }, url, deadline, self.0.body_size_limit).await
    }

    /// As [`get`](Self::get), with any method and a body; the rules of redirects are those of [`post`](Self::post).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Response, ScrapeError> {
        self.exchange(Content { method, headers, body }, url, deadline, self.0.body_size_limit).await
    }

    /// [`get`](Self::get) with another limit on the decoded body; 0 = none.
    pub(crate) async fn get_limited(
        &self,
        url: &str,
        headers: HeaderMap,
        deadline: Instant,
        body_size_limit: u64,
    ) -> Result<Response, ScrapeError> {
        self.exchange(Content { method: Method::GET, headers, body: Bytes::new() }, url, deadline, body_size_limit).await
    }

    async fn exchange(
        &self,
        mut content: Content,
        url: &str,
        deadline: Instant,
        body_size_limit: u64,
    ) -> Result<Response, ScrapeError> {
        let deadline = Deadline::until(deadline);
        let mut endpoint = Endpoint::parse(url)?;
        let mut keeps_credentials = true;
        for _ in 0..MAX_REQUESTS {
            let response = self.request(&endpoint, content.clone(), keeps_credentials, &deadline).await?;
            let next = match self.0.config.follow_redirects {
                true => redirect::location(response.status(), response.headers(), &endpoint.uri.to_string())?,
                false => None,
            };
            let Some(next) = next else { return Ok(Response::new(response, deadline, body_size_limit)) };
            if !matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                content.forget_body();
            }
            // Once outside, a chain that comes back stays without credentials.
            keeps_credentials = keeps_credentials && redirect::keeps_credentials(url, &next);
            if !keeps_credentials {
                content.forget_secrets();
            }
            endpoint = Endpoint::parse(&next)?;
        }
        Err(ScrapeError::Redirect { problem: format!("stopped after {MAX_REQUESTS} requests") })
    }

    async fn request(
        &self,
        endpoint: &Endpoint,
        content: Content,
        with_credentials: bool,
        deadline: &Deadline,
    ) -> Result<http::Response<hyper::body::Incoming>, ScrapeError> {
        let Content { method, mut headers, body } = content;
        if with_credentials {
            if !headers.contains_key(header::AUTHORIZATION)
                && let Some(value) = self.0.auth.header(deadline).await?
            {
                headers.insert(header::AUTHORIZATION, value);
            }
            for (name, sources) in &self.0.headers {
                for source in sources {
                    let text = reveal(source, "http_headers").await?;
                    let mut value = HeaderValue::try_from(text).map_err(|_| ScrapeError::Credentials {
                        field: "http_headers",
                        problem: format!("the value of {name} cannot be sent in a header"),
                    })?;
                    value.set_sensitive(true);
                    headers.append(name, value);
                }
            }
        }
        if let Some(value) = &endpoint.authorization
            && !headers.contains_key(header::AUTHORIZATION)
        {
            headers.insert(header::AUTHORIZATION, value.clone());
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = endpoint.uri.clone();
        *request.headers_mut() = headers;
        self.0.transport.send(request, deadline).await
    }
}

/// What a request carries, wherever it goes.
#[derive(Clone)]
struct Content {
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl Content {
    /// Removes what was meant for the first host only: the usual headers and whatever the caller marked as sensitive.
    fn forget_secrets(&mut self) {
        let sensitive = self.headers.iter().filter(|(_, value)| value.is_sensitive()).map(|(name, _)| name.clone());
        for name in sensitive.chain([header::AUTHORIZATION, header::COOKIE]).collect::<Vec<_>>() {
            self.headers.remove(name);
        }
    }

    fn forget_body(&mut self) {
        self.method = Method::GET;
        self.body.clear();
        for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
            self.headers.remove(name);
        }
    }
}
