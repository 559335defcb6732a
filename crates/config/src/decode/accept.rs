use kvass_model::PrometheusLine;

const PROTO: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

/// What Prometheus 2.42 sends.
const CLASSIC: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                       text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
const CLASSIC_TEXT_AFTER_PROTO: &str = "application/openmetrics-text;version=1.0.0;q=0.8,\
                                        application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// The `Accept` header of a scrape. 2.x without `scrape_protocols` is taken for 2.42, which knows no such key; with it for
/// 2.49 and later; 3.x for 3.16, from which 3.4 and later differ in the weights only.
pub(super) fn header(line: PrometheusLine, protocols: Option<&[String]>, native_histograms: bool, escaping: &str) -> String {
    match (line, protocols) {
        (PrometheusLine::V2, None) if native_histograms => format!("{PROTO},{CLASSIC_TEXT_AFTER_PROTO}"),
        (PrometheusLine::V2, None) => CLASSIC.to_owned(),
        (PrometheusLine::V2, Some(protocols)) => weighted(protocols.iter().map(String::as_str), 5, ""),
        (PrometheusLine::V3, Some(protocols)) => weighted(protocols.iter().map(String::as_str), 7, escaping),
        (PrometheusLine::V3, None) => {
            let text = ["OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4"];
            let proto = native_histograms.then_some("PrometheusProto");
            weighted(proto.into_iter().chain(text), 7, escaping)
        }
    }
}

/// Weights fall by a tenth per entry from `first_weight` tenths: one more than the protocols that version knows.
fn weighted<'a>(protocols: impl Iterator<Item = &'a str>, first_weight: u32, escaping: &str) -> String {
    let escaping = if escaping.is_empty() { String::new() } else { format!(";escaping={escaping}") };
    let mut header = String::new();
    let mut weight = first_weight;
    for protocol in protocols {
        let media_type = match protocol {
            "PrometheusProto" => PROTO.to_owned(),
            "PrometheusText1.0.0" => format!("text/plain;version=1.0.0{escaping}"),
            "OpenMetricsText0.0.1" => "application/openmetrics-text;version=0.0.1".to_owned(),
            "OpenMetricsText1.0.0" => format!("application/openmetrics-text;version=1.0.0{escaping}"),
            "OpenMetricsText2.0.0" => format!("application/openmetrics-text;version=2.0.0{escaping}"),
            _ => "text/plain;version=0.0.4".to_owned(),
        };
        header.push_str(&format!("{media_type};q=0.{weight},"));
        weight = weight.saturating_sub(1);
    }
    header.push_str(&format!("*/*;q=0.{weight}"));
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let three = list(&["OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText0.0.4"]);
        let proto = list(&["PrometheusProto", "OpenMetricsText1.0.0"]);
        let (v2, v3) = (PrometheusLine::V2, PrometheusLine::V3);
        for (line, protocols, native, escaping, expected) in [
            (
                v2,
                None,
                false,
                "underscores",
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ),
            (
                v2,
                Some(&three),
                false,
                "underscores",
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ),
            (
                v3,
                None,
                false,
                "allow-utf-8",
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,application/openmetrics-text;version=0.0.1;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3",
            ),
            (
                v3,
                None,
                true,
                "underscores",
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=underscores;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ),
            (
                v3,
                Some(&proto),
                true,
                "dots",
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,application/openmetrics-text;version=1.0.0;escaping=dots;q=0.6,*/*;q=0.5",
            ),
        ] {
            assert_eq!(header(line, protocols.map(Vec::as_slice), native, escaping), expected);
        }
    }
}
