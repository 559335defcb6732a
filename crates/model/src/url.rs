use std::{collections::BTreeMap, fmt::Write};

use crate::{ADDRESS_LABEL, Labels, METRICS_PATH_LABEL, PARAM_LABEL_PREFIX, Params, SCHEME_LABEL};

/// The URL a target is scraped at, rendered as Go's `url.URL` does: scheme, host and path from the
/// reserved labels, the query from the job's `params`, in which a label `__param_x` replaces the first
/// value of `x` or adds it.
pub fn target_url(labels: &Labels, params: &Params) -> String {
    let mut query: BTreeMap<&str, Vec<&str>> =
        params.iter().map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect())).collect();
    for (name, value) in labels.iter() {
        if let Some(param) = name.strip_prefix(PARAM_LABEL_PREFIX) {
            let values = query.entry(param).or_default();
            match values.first_mut() {
                Some(first) => *first = value,
                None => values.push(value),
            }
        }
    }

    let scheme = labels.get(SCHEME_LABEL).unwrap_or_default();
    let host = labels.get(ADDRESS_LABEL).unwrap_or_default();
    let path = labels.get(METRICS_PATH_LABEL).unwrap_or_default();

    let mut url = String::with_capacity(scheme.len() + host.len() + path.len() + 16);
    if !scheme.is_empty() {
        url.push_str(scheme);
        url.push(':');
    }
    if !host.is_empty() || !(scheme.is_empty() || path.is_empty()) {
        url.push_str("//");
    }
    escape_into(&mut url, host, |b| b"!$&'()*+,;=:[]<>\"".contains(&b));
    if !path.is_empty() && !path.starts_with('/') && !host.is_empty() {
        url.push('/');
    }
    escape_into(&mut url, path, |b| b"$&+,/:;=@".contains(&b));

    let mut separator = '?';
    for (name, values) in &query {
        for value in values {
            url.push(separator);
            separator = '&';
            url.push_str(&query_escape(name));
            url.push('=');
            url.push_str(&query_escape(value));
        }
    }
    url
}

/// Escapes one name or value of a query as Go's `url.QueryEscape` does: a space becomes `+`, everything
/// but letters, digits and `-_.~` becomes `%XX`.
pub fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, part) in text.split(' ').enumerate() {
        if i > 0 {
            out.push('+');
        }
        escape_into(&mut out, part, |_| false);
    }
    out
}

fn escape_into(out: &mut String, text: &str, also_plain: impl Fn(u8) -> bool) {
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) || also_plain(b) {
            out.push(char::from(b));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{b:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(labels: &[(&str, &str)]) -> String {
        target_url(&labels.iter().copied().collect(), &Params::new())
    }

    #[test]
    fn rendering() {
        let base = [("__scheme__", "http"), ("__address__", "h:1")];
        let with = |path| url(&[base[0], base[1], ("__metrics_path__", path)]);
        assert_eq!(with("/m"), "http://h:1/m");
        assert_eq!(with("m"), "http://h:1/m");
        assert_eq!(with("/a b/%41?x=1#f"), "http://h:1/a%20b/%2541%3Fx=1%23f");
        assert_eq!(with("/é!*'()[]"), "http://h:1/%C3%A9%21%2A%27%28%29%5B%5D");
        assert_eq!(url(&base), "http://h:1");
        assert_eq!(url(&[base[0], ("__address__", "[fe80::1%eth0]:1")]), "http://[fe80::1%25eth0]:1");
        assert_eq!(url(&[base[0], ("__address__", "é é")]), "http://%C3%A9%20%C3%A9");
        assert_eq!(url(&[]), "");
    }

    #[test]
    fn params_and_param_labels() {
        let params: Params = [("b".to_owned(), vec!["x y".to_owned(), "z".to_owned()]), ("e".to_owned(), vec![])].into();
        let labels = Labels::from([("__scheme__", "http"), ("__address__", "h"), ("__param_a", "1"), ("__param_b", "&")]);
        assert_eq!(target_url(&labels, &params), "http://h?a=1&b=%26&b=z");
    }
}
