use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use kvass_config::ProxyConfig;
use url::Url;

use crate::{
    ClientError,
    endpoint::{basic, host, port, split_userinfo},
    no_proxy::NoProxy,
};

/// Tells the proxy of `SCRAPE_PROXY` which proxy the job asked for.
pub(crate) const ORIGIN_PROXY: HeaderName = HeaderName::from_static("origin-proxy");

/// One proxy.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) kind: ProxyKind,
    /// Scheme, host and port only.
    pub(crate) uri: Uri,
    /// User and password, decoded.
    pub(crate) credentials: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyKind {
    Http,
    Https,
    Socks5,
}

impl Proxy {
    /// Parses a proxy URL. Errors do not repeat it, since it may hold a password.
    fn parse(url: &str, field: &'static str) -> Result<Self, ClientError> {
        let refuse = |problem: &str| ClientError::Proxy { field, problem: problem.to_owned() };
        let parsed =
            Url::parse(url.trim()).map_err(|error| refuse(&format!("not a URL ({error}), expected http://host:port")))?;
        let kind = match parsed.scheme() {
            "http" => ProxyKind::Http,
            "https" => ProxyKind::Https,
            "socks5" | "socks5h" => ProxyKind::Socks5,
            other => return Err(refuse(&format!("scheme {other:?} is not supported, expected http, https or socks5"))),
        };
        let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| refuse("names no host"))?;
        let authority = parsed.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let uri = format!("{}://{authority}", parsed.scheme()).parse().map_err(|_| refuse("names no usable host"))?;
        let userinfo = match parsed.password() {
            Some(password) => format!("{}:{password}", parsed.username()),
            None => parsed.username().to_owned(),
        };
        let credentials = Some(userinfo).filter(|userinfo| !userinfo.is_empty()).map(|userinfo| split_userinfo(&userinfo));
        Ok(Proxy { kind, uri, credentials })
    }

    /// `Proxy-Authorization`, if the URL had credentials.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        self.credentials.as_ref().map(|(user, password)| basic(user, password))
    }
}

/// Host and port, never credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uri.host().unwrap_or_default(), port(&self.uri))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({:?} {self})", self.kind)
    }
}

/// Which proxy a request goes through, and what is said to it.
#[derive(Debug)]
pub(crate) struct ProxySettings {
    rule: Rule,
    /// Sent with every CONNECT.
    pub(crate) connect_headers: HeaderMap,
    /// Value of [`ORIGIN_PROXY`].
    pub(crate) origin_proxy: Option<HeaderValue>,
}

#[derive(Debug)]
enum Rule {
    Direct,
    /// A `proxy_url` alone: every request, loopback included.
    Always(Proxy),
    /// By scheme of the request, except for some hosts.
    Unless {
        http: Option<Proxy>,
        https: Option<Proxy>,
        no_proxy: NoProxy,
    },
}

impl ProxySettings {
    /// `scrape_proxy` replaces all of `config`; `environment` looks up a variable.
    pub(crate) fn new(
        config: &ProxyConfig,
        scrape_proxy: Option<&str>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ClientError> {
        if let Some(url) = scrape_proxy.filter(|url| !url.is_empty()) {
            let origin_proxy = match &config.url {
                Some(own) => Some(header_value("proxy_url", ORIGIN_PROXY.as_str(), own.reveal())?),
                None => None,
            };
            let rule = Rule::Always(Proxy::parse(url, "SCRAPE_PROXY")?);
            return Ok(ProxySettings { rule, connect_headers: HeaderMap::new(), origin_proxy });
        }

        let rule = if config.from_environment {
            Rule::Unless {
                http: from_environment(&environment, "HTTP_PROXY", "http_proxy")?,
                https: from_environment(&environment, "HTTPS_PROXY", "https_proxy")?,
                no_proxy: NoProxy::parse(&lookup(&environment, "NO_PROXY", "no_proxy")),
            }
        } else {
            match &config.url {
                None => Rule::Direct,
                Some(url) => {
                    let proxy = Proxy::parse(url.reveal(), "proxy_url")?;
                    if config.no_proxy.is_empty() {
                        Rule::Always(proxy)
                    } else {
                        Rule::Unless { http: Some(proxy.clone()), https: Some(proxy), no_proxy: NoProxy::parse(&config.no_proxy) }
                    }
                }
            }
        };
        let mut connect_headers = HeaderMap::new();
        for (name, values) in &config.connect_headers {
            for value in values {
                let key = name
                    .parse::<HeaderName>()
                    .map_err(|_| ClientError::Header { field: "proxy_connect_header", name: name.clone() })?;
                connect_headers.append(key, header_value("proxy_connect_header", name, value.reveal())?);
            }
        }
        Ok(ProxySettings { rule, connect_headers, origin_proxy: None })
    }

    /// The proxy of a request.
    pub(crate) fn of(&self, uri: &Uri) -> Option<&Proxy> {
        match &self.rule {
            Rule::Direct => None,
            Rule::Always(proxy) => Some(proxy),
            Rule::Unless { http, https, no_proxy } => {
                let proxy = if uri.scheme_str() == Some("https") { https } else { http };
                proxy.as_ref().filter(|_| !no_proxy.matches(host(uri), port(uri)))
            }
        }
    }

    /// Adds what the proxy wants to know to a request it can read, one for an `http` target.
    pub(crate) fn decorate(&self, uri: &Uri, headers: &mut HeaderMap) {
        let Some(proxy) = self.of(uri).filter(|proxy| proxy.kind != ProxyKind::Socks5) else { return };
        if uri.scheme_str() == Some("https") {
            return;
        }
        if let Some(authorization) = proxy.authorization() {
            headers.insert(header::PROXY_AUTHORIZATION, authorization);
        }
        if let Some(origin) = &self.origin_proxy {
            headers.insert(ORIGIN_PROXY, origin.clone());
        }
    }
}

fn lookup(environment: impl Fn(&str) -> Option<String>, upper: &str, lower: &str) -> String {
    environment(upper).filter(|value| !value.is_empty()).or_else(|| environment(lower)).unwrap_or_default()
}

/// A proxy named by a variable; unlike in a configuration, its scheme may be missing.
fn from_environment(
    environment: impl Fn(&str) -> Option<String>,
    upper: &'static str,
    lower: &str,
) -> Result<Option<Proxy>, ClientError> {
    let url = lookup(environment, upper, lower);
    if url.is_empty() {
        return Ok(None);
    }
    let url = if url.contains("://") { url } else { format!("http://{url}") };
    Proxy::parse(&url, upper).map(Some)
}

fn header_value(field: &'static str, name: &str, value: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(value).map_err(|_| ClientError::Header { field, name: name.to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use kvass_config::Secret;

    use super::*;

    fn settings(
        config: &ProxyConfig,
        scrape_proxy: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Result<ProxySettings, ClientError> {
        ProxySettings::new(config, scrape_proxy, |name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn of(settings: &ProxySettings, url: &str) -> Option<String> {
        settings.of(&url.parse().unwrap()).map(ToString::to_string)
    }

    #[test]
    fn proxy_url_alone_takes_everything() {
        let config = ProxyConfig { url: Some(Secret::new("http://u:p%40@proxy")), ..ProxyConfig::default() };
        let settings = settings(&config, None, &[("HTTP_PROXY", "http://other")]).unwrap();
        assert_eq!(of(&settings, "http://[::1]:99/"), Some("proxy:80".to_owned()));
        assert_eq!(of(&settings, "https://localhost/"), Some("proxy:80".to_owned()));
        let proxy = settings.of(&Uri::from_static("http://h/")).unwrap();
        assert_eq!(proxy.authorization(), Some(basic("u", "p@")));
    }

    #[test]
    fn no_proxy_lets_hosts_through() {
        let config = ProxyConfig {
            url: Some(Secret::new("socks5://proxy")),
            no_proxy: "direct.example".to_owned(),
            ..ProxyConfig::default()
        };
        let settings = settings(&config, None, &[]).unwrap();
        assert_eq!(of(&settings, "http://direct.example/"), None);
        assert_eq!(of(&settings, "http://127.0.0.1/"), None);
        assert_eq!(of(&settings, "http://h/"), Some("proxy:1080".to_owned()));
    }

    #[test]
    fn environment() {
        let config = ProxyConfig { from_environment: true, ..ProxyConfig::default() };
        let variables =
            [("http_proxy", "low:1"), ("HTTPS_PROXY", "https://up"), ("https_proxy", "http://low:2"), ("NO_PROXY", "x.org")];
        let found = settings(&config, None, &variables).unwrap();
        assert_eq!(of(&found, "http://h/"), Some("low:1".to_owned()));
        assert_eq!(of(&found, "https://h/"), Some("up:443".to_owned()));
        assert_eq!(of(&found, "https://a.x.org/"), None);
        assert_eq!(of(&settings(&config, None, &[]).unwrap(), "http://h/"), None);
    }

    #[test]
    fn scrape_proxy_replaces_everything() {
        let config = ProxyConfig {
            url: Some(Secret::new("http://u:p@own:3128")),
            no_proxy: "h".to_owned(),
            connect_headers: vec![("X-Key".to_owned(), vec![Secret::new("k")])],
            ..ProxyConfig::default()
        };
        let settings = settings(&config, Some("http://gateway:1"), &[]).unwrap();
        assert_eq!(of(&settings, "http://h/"), Some("gateway:1".to_owned()));
        assert_eq!(settings.origin_proxy, Some(HeaderValue::from_static("http://u:p@own:3128")));
        assert!(settings.connect_headers.is_empty());
    }

    #[test]
    fn refusals_hide_the_url() {
        for url in ["", "proxy:3128", "ftp://u:secret@h", "http://", "http://u:secret@h:99999"] {
            let config = ProxyConfig { url: Some(Secret::new(url)), ..ProxyConfig::default() };
            let error = settings(&config, None, &[]).unwrap_err().to_string();
            assert!(error.starts_with("proxy_url: ") && !error.contains("secret"), "{error}");
        }
        let error = settings(&ProxyConfig::default(), Some("::"), &[]).unwrap_err().to_string();
        assert!(error.starts_with("SCRAPE_PROXY: "), "{error}");
    }
}
