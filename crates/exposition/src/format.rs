use kvass_model::PrometheusLine;

/// The parsers of Prometheus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Prometheus text, versions 0.0.4 and 1.0.0 alike.
    #[default]
    Text,
    /// OpenMetrics text, version 1.0.0 and earlier.
    OpenMetrics,
    /// Length-delimited `io.prometheus.client.MetricFamily` messages.
    Protobuf,
}

impl Format {
    /// Which parser Prometheus uses for a reply.
    ///
    /// Only the media type counts, its parameters merely have to be well-formed. (OpenMetrics 2.0 is
    /// unknown to Prometheus 3 unless a flag says otherwise, which this does not know of.) Prometheus 2 reads
    /// everything it does not know as text. Prometheus 3 then takes the parser of `fallback` (a name as
    /// in the job's `fallback_scrape_protocol`) and without one refuses the scrape: `None`, unless the
    /// body is empty, which is never looked at.
    pub fn of_content_type(content_type: Option<&str>, line: PrometheusLine, fallback: Option<&str>) -> Option<Format> {
        let known = content_type.and_then(media_type).and_then(|(media_type, params)| match media_type.as_str() {
            "text/plain" => Some(Format::Text),
            "application/openmetrics-text" => {
                let version_2 = || params.iter().any(|(name, value)| name == "version" && value == "2.0.0");
                (line == PrometheusLine::V2 || !version_2()).then_some(Format::OpenMetrics)
            }
            "application/vnd.google.protobuf" => Some(Format::Protobuf),
            _ => None,
        });
        known.or_else(|| match line {
            PrometheusLine::V2 => Some(Format::Text),
            PrometheusLine::V3 => Format::of_scrape_protocol(fallback?),
        })
    }

    fn of_scrape_protocol(name: &str) -> Option<Format> {
        match name {
            "PrometheusText0.0.4" | "PrometheusText1.0.0" => Some(Format::Text),
            "OpenMetricsText0.0.1" | "OpenMetricsText1.0.0" | "OpenMetricsText2.0.0" => Some(Format::OpenMetrics),
            "PrometheusProto" => Some(Format::Protobuf),
            _ => None,
        }
    }
}

/// The media type of a `Content-Type` in lower case and its parameters, `None` where Go's `mime.ParseMediaType`
/// fails.
fn media_type(content_type: &str) -> Option<(String, Vec<(String, String)>)> {
    let (essence, mut rest) = match content_type.find(';') {
        Some(end) => content_type.split_at(end),
        None => (content_type, ""),
    };
    let essence = essence.trim().to_ascii_lowercase();
    let (kind, subtype) = essence.split_once('/')?;
    if !is_token(kind) || !is_token(subtype) {
        return None;
    }
    let mut params: Vec<(String, String)> = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() || rest.trim_end() == ";" {
            return Some((essence, params));
        }
        let (name, value, tail) = parameter(rest)?;
        // Go tolerates a repeated parameter as long as it says the same.
        if params.iter().any(|(n, v)| *n == name && *v != value) {
            return None;
        }
        params.push((name, value));
        rest = tail;
    }
}

/// Splits `; name=value` off the front.
fn parameter(text: &str) -> Option<(String, String, &str)> {
    let text = text.strip_prefix(';')?.trim_start();
    let name_end = text.find(|c| !is_token_char(c)).unwrap_or(text.len());
    let (name, text) = text.split_at(name_end);
    if name.is_empty() {
        return None;
    }
    let text = text.trim_start().strip_prefix('=')?.trim_start();
    let (value, tail) = match text.strip_prefix('"') {
        Some(quoted) => quoted_value(quoted)?,
        None => {
            let (value, tail) = text.split_at(text.find(|c| !is_token_char(c)).unwrap_or(text.len()));
            if value.is_empty() {
                return None;
            }
            (value.to_owned(), tail)
        }
    };
    Some((name.to_ascii_lowercase(), value, tail))
}

/// The value up to the closing quote, and what follows it. A backslash escapes only separators, which
/// keeps unescaped Windows paths intact.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[index + 1..])),
            '\\' => match chars.next_if(|(_, next)| SEPARATORS.contains(*next)) {
                Some((_, next)) => value.push(next),
                None => value.push(c),
            },
            '\r' | '\n' => return None,
            _ => value.push(c),
        }
    }
    None
}

const SEPARATORS: &str = "()<>@,;:\\\"/[]?=";

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_token_char)
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_graphic() && !SEPARATORS.contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parser_by_content_type() {
        use Format::*;
        for (content_type, known) in [
            ("text/plain", Some(Text)),
            ("text/plain; version=0.0.4; charset=utf-8", Some(Text)),
            ("TEXT/PLAIN;version=9", Some(Text)),
            (" text/plain ; ", Some(Text)),
            ("text/plain; a=\"b;c\\\"\"; a2=x", Some(Text)),
            ("text/plain; a=b; A=b", Some(Text)),
            ("application/openmetrics-text; version=1.0.0", Some(OpenMetrics)),
            ("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", Some(Protobuf)),
            ("application/vnd.google.protobuf", Some(Protobuf)),
            ("", None),
            ("text", None),
            ("text/html", None),
            ("application/json", None),
            ("text/plain; version", None),
            ("text/plain; a=", None),
            ("text/plain; a=b; a=c", None),
            ("text/plain; a=\"b", None),
            ("text/plain version=0.0.4", None),
            ("text/plain, text/plain", None),
            ("text /plain", None),
        ] {
            let of = |line, fallback| Format::of_content_type(Some(content_type), line, fallback);
            assert_eq!(of(PrometheusLine::V2, None), known.or(Some(Text)), "{content_type:?} on 2.x");
            assert_eq!(of(PrometheusLine::V3, None), known, "{content_type:?} on 3.x");
            assert_eq!(
                of(PrometheusLine::V3, Some("OpenMetricsText0.0.1")),
                known.or(Some(OpenMetrics)),
                "{content_type:?}, fallback"
            );
        }
    }

    #[test]
    fn openmetrics_2() {
        let of = |line| Format::of_content_type(Some("application/openmetrics-text; version=2.0.0"), line, None);
        assert_eq!([PrometheusLine::V2, PrometheusLine::V3].map(of), [Some(Format::OpenMetrics), None]);
    }

    #[test]
    fn fallback_protocols() {
        for (name, format) in [
            ("PrometheusProto", Some(Format::Protobuf)),
            ("PrometheusText0.0.4", Some(Format::Text)),
            ("PrometheusText1.0.0", Some(Format::Text)),
            ("OpenMetricsText1.0.0", Some(Format::OpenMetrics)),
            ("prometheusproto", None),
        ] {
            assert_eq!(Format::of_content_type(None, PrometheusLine::V3, Some(name)), format, "{name}");
            assert_eq!(Format::of_content_type(None, PrometheusLine::V2, Some(name)), Some(Format::Text), "{name}");
        }
    }
}
