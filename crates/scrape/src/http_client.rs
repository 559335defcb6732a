use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
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
    /// [`Response::chunk`]. An `Authorization` in `headers` wins over the configured one.
    ///
    /// # Errors
    /// Everything that prevents a response.
    pub async fn get(&self, url: &str, headers: HeaderMap, deadline: Instant) -> Result<Response, ScrapeError> {
        self.get_limited(url, headers, deadline, self.0.body_size_limit).await
    }

    /// [`get`](Self::get) with another limit on the decoded body; 0 = none.
    pub(crate) async fn get_limited(
        &self,
        url: &str,
        mut headers: HeaderMap,
        deadline: Instant,
        body_size_limit: u64,
    ) -> Result<Response, ScrapeError> {
        let deadline = Deadline::until(deadline);
        let mut endpoint = Endpoint::parse(url)?;
        let mut keeps_credentials = true;
        for _ in 0..MAX_REQUESTS {
            let response = self.request(&endpoint, headers.clone(), keeps_credentials, &deadline).await?;
            let next = match self.0.config.follow_redirects {
                true => redirect::location(response.status(), response.headers(), &endpoint.uri.to_string())?,
                false => None,
            };
            let Some(next) = next else { return Ok(Response::new(response, deadline, body_size_limit)) };
            // Once outside, a chain that comes back stays without credentials.
            keeps_credentials = keeps_credentials && redirect::keeps_credentials(url, &next);
            if !keeps_credentials {
                for name in [header::AUTHORIZATION, header::COOKIE] {
                    headers.remove(name);
                }
            }
            endpoint = Endpoint::parse(&next)?;
        }
        Err(ScrapeError::Redirect { problem: format!("stopped after {MAX_REQUESTS} requests") })
    }

    async fn request(
        &self,
        endpoint: &Endpoint,
        mut headers: HeaderMap,
        with_credentials: bool,
        deadline: &Deadline,
    ) -> Result<http::Response<hyper::body::Incoming>, ScrapeError> {
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
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = endpoint.uri.clone();
        *request.headers_mut() = headers;
        self.0.transport.send(request, deadline).await
    }
}
