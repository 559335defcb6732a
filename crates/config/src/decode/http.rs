use crate::{
    Authorization, BasicAuth, ConfigError, HttpClientConfig, OAuth2, ProxyConfig, Secret, SecretSource, TlsConfig, cursor::Cursor,
};

/// The HTTP client block written inline into the mapping of `cursor`.
pub(super) fn client(cursor: Cursor<'_>) -> Result<HttpClientConfig, ConfigError> {
    refuse_several_methods(cursor)?;
    let authorization = match cursor.get("authorization") {
        Some(section) => Some(authorization(section)?),
        None => bearer(cursor)?.map(|token| Authorization { kind: "Bearer".to_owned(), credentials: Some(token) }),
    };
    Ok(HttpClientConfig {
        basic_auth: cursor.get("basic_auth").map(|section| basic_auth(section)).transpose()?,
        authorization,
        oauth2: cursor.get("oauth2").map(|section| oauth2(section).map(Box::new)).transpose()?,
        tls: cursor.get("tls_config").map(|section| tls(section)).transpose()?.unwrap_or_default(),
        follow_redirects: cursor.boolean("follow_redirects").unwrap_or(true),
        enable_http2: cursor.boolean("enable_http2").unwrap_or(true),
        proxy: proxy(cursor)?,
        http_headers: headers(cursor)?,
    })
}

fn refuse_several_methods(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    let bearer = ["bearer_token", "bearer_token_file"].into_iter().find(|key| cursor.non_empty(key).is_some());
    // An empty mapping counts as well.
    let methods = ["authorization", "basic_auth", "oauth2"].into_iter().filter(|key| cursor.get(key).is_some()).chain(bearer);
    let methods: Vec<&str> = methods.collect();
    match methods[..] {
        [first, second, ..] => {
            let place = cursor.get(second).unwrap_or(cursor);
            Err(place.error_without_value(format!("cannot be combined with {first}")))
        }
        _ => Ok(()),
    }
}

/// The value of whichever of `key`, `key_file` and `key_ref` is given.
pub(super) fn secret(cursor: Cursor<'_>, key: &str) -> Result<Option<SecretSource>, ConfigError> {
    let [file_key, ref_key] = [format!("{key}_file"), format!("{key}_ref")];
    if let Some(value) = cursor.get(&ref_key).filter(|_| cursor.non_empty(&ref_key).is_some()) {
        return Err(value.error("needs a secret manager, which Prometheus does not have"));
    }
    match (cursor.non_empty(key), cursor.non_empty(&file_key)) {
        (Some(_), Some(_)) => Err(cursor.error_at(&file_key, format!("cannot be combined with {key}"))),
        (Some(text), None) => Ok(Some(SecretSource::Inline(Secret::new(text)))),
        (None, Some(path)) => Ok(Some(SecretSource::File(path.into()))),
        (None, None) => Ok(None),
    }
}

fn bearer(cursor: Cursor<'_>) -> Result<Option<SecretSource>, ConfigError> {
    secret(cursor, "bearer_token")
}

fn basic_auth(cursor: Cursor<'_>) -> Result<BasicAuth, ConfigError> {
    Ok(BasicAuth { username: secret(cursor, "username")?, password: secret(cursor, "password")? })
}

fn authorization(cursor: Cursor<'_>) -> Result<Authorization, ConfigError> {
    let kind = match cursor.text("type").map(str::trim) {
        None | Some("") => "Bearer",
        Some(kind) if kind.eq_ignore_ascii_case("basic") => {
            return Err(cursor.error_at("type", "expected another type than basic, for which there is basic_auth"));
        }
        Some(kind) => kind,
    };
    Ok(Authorization { kind: kind.to_owned(), credentials: secret(cursor, "credentials")? })
}

/// The grant of RFC 7523.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

fn oauth2(cursor: Cursor<'_>) -> Result<OAuth2, ConfigError> {
    for key in ["client_id", "token_url"] {
        if cursor.non_empty(key).is_none() {
            return Err(cursor.error_at(key, "is required"));
        }
    }
    let by_certificate = cursor.text("grant_type") == Some(JWT_BEARER);
    // Prometheus leaves what the grant does not use alone.
    let client_secret = if by_certificate { None } else { secret(cursor, "client_secret")? };
    if by_certificate {
        secret(cursor, "client_certificate_key")?;
        let algorithms = ["RS256", "RS384", "RS512"];
        if cursor.non_empty("signature_algorithm").is_some_and(|algorithm| !algorithms.contains(&algorithm)) {
            return Err(cursor.error_at("signature_algorithm", format!("expected one of {}", algorithms.join(", "))));
        }
    }
    let text = |key| cursor.text(key).unwrap_or_default().to_owned();
    let endpoint_params = cursor.get("endpoint_params");
    let params = endpoint_params.iter().flat_map(|params| params.pairs());
    Ok(OAuth2 {
        client_id: text("client_id"),
        client_secret,
        scopes: cursor.texts("scopes").unwrap_or_default(),
        token_url: text("token_url"),
        endpoint_params: params
            .filter_map(|(name, value)| Some((name.to_owned(), value.node().as_scalar()?.as_text().to_owned())))
            .collect(),
        tls: cursor.get("tls_config").map(|section| tls(section)).transpose()?.unwrap_or_default(),
        proxy: proxy(cursor)?,
        grant_type: text("grant_type"),
    })
}

pub(super) fn tls(cursor: Cursor<'_>) -> Result<TlsConfig, ConfigError> {
    let text = |key| cursor.non_empty(key).map(str::to_owned);
    let tls = TlsConfig {
        ca: secret(cursor, "ca")?,
        cert: secret(cursor, "cert")?,
        key: secret(cursor, "key")?,
        server_name: text("server_name").unwrap_or_default(),
        insecure_skip_verify: cursor.boolean("insecure_skip_verify").unwrap_or(false),
        min_version: text("min_version"),
        max_version: text("max_version"),
    };
    match (&tls.cert, &tls.key) {
        (Some(_), None) => Err(cursor.error_at("key", "is required with a client certificate, or key_file")),
        (None, Some(_)) => Err(cursor.error_at("cert", "is required with a client key, or cert_file")),
        _ => Ok(tls),
    }
}

fn proxy(cursor: Cursor<'_>) -> Result<ProxyConfig, ConfigError> {
    let url = cursor.non_empty("proxy_url").map(Secret::new);
    let no_proxy = cursor.text("no_proxy").unwrap_or_default().to_owned();
    let from_environment = cursor.boolean("proxy_from_environment").unwrap_or(false);
    if from_environment && url.is_some() {
        return Err(cursor.error_at("proxy_from_environment", "cannot be combined with proxy_url"));
    }
    if from_environment && !no_proxy.is_empty() {
        return Err(cursor.error_at("proxy_from_environment", "cannot be combined with no_proxy"));
    }
    // Prometheus takes an empty URL for one here.
    if cursor.get("proxy_url").is_none() && !no_proxy.is_empty() {
        return Err(cursor.error_at("no_proxy", "needs proxy_url"));
    }
    let mut connect_headers = Vec::new();
    if let Some(section) = cursor.get("proxy_connect_header") {
        let secrets = |values: Cursor<'_>| {
            values.node().items().iter().filter_map(|item| Some(Secret::new(item.as_scalar()?.as_text()))).collect()
        };
        connect_headers.extend(section.pairs().map(|(name, values)| (name.to_owned(), secrets(values))));
        if !connect_headers.is_empty() && url.is_none() && !from_environment {
            return Err(section.error_without_value("needs proxy_url or proxy_from_environment"));
        }
    }
    connect_headers.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(ProxyConfig { url, no_proxy, from_environment, connect_headers })
}

const TIMEOUT_HEADER: &str = "X-Prometheus-Scrape-Timeout-Seconds";

/// Headers that Prometheus sets itself.
const RESERVED_HEADERS: [&str; 18] = [
    "Authorization",
    "Host",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "User-Agent",
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Www-Authenticate",
    "Accept-Encoding",
    "X-Prometheus-Remote-Write-Version",
    "X-Prometheus-Remote-Read-Version",
    TIMEOUT_HEADER,
    "X-Amz-Date",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
];

/// Refuses the names of the mapping under `key` that Prometheus keeps for itself.
pub(super) fn refuse_reserved_headers(cursor: Cursor<'_>, key: &str) -> Result<(), ConfigError> {
    let Some(section) = cursor.get(key) else { return Ok(()) };
    // It means something in scrapes only, which is what `http_headers` was made for.
    let reserved = RESERVED_HEADERS.iter().filter(|name| key == "http_headers" || **name != TIMEOUT_HEADER);
    for (name, value) in section.pairs() {
        if reserved.clone().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
            return Err(value.error_without_value("is a header that Prometheus sets itself"));
        }
    }
    Ok(())
}

fn headers(cursor: Cursor<'_>) -> Result<Vec<(String, Vec<SecretSource>)>, ConfigError> {
    refuse_reserved_headers(cursor, "http_headers")?;
    let Some(section) = cursor.get("http_headers") else { return Ok(Vec::new()) };
    let mut headers = Vec::new();
    for (name, sources) in section.pairs() {
        let texts = |key| sources.texts(key).unwrap_or_default().into_iter();
        let inline = texts("values").chain(texts("secrets")).map(|text| SecretSource::Inline(Secret::new(text)));
        let values = inline.chain(texts("files").map(|path| SecretSource::File(path.into()))).collect();
        headers.push((name.to_owned(), values));
    }
    headers.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(headers)
}
