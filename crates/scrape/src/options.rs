/// Default of [`ClientOptions::body_size_limit`]: 256 MiB.
const BODY_SIZE_LIMIT: u64 = 256 << 20;

/// What the process, as opposed to the job, decides about its clients.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Keep connections open between requests.
    pub keep_alive: bool,
    /// `SCRAPE_PROXY`: the proxy of every request of every job. It replaces all proxy settings of the job;
    /// the job's own `proxy_url`, if any, is told to it in the header `Origin-Proxy`.
    pub scrape_proxy: Option<String>,
    /// Offer HTTP/2 where the job allows it; false when `PROMETHEUS_COMMON_DISABLE_HTTP2` is set.
    pub http2: bool,
    /// Limit on decoded bodies in bytes where the job sets none; 0 = no limit.
    pub body_size_limit: u64,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions { keep_alive: true, scrape_proxy: None, http2: true, body_size_limit: BODY_SIZE_LIMIT }
    }
}
