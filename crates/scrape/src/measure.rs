use std::time::Duration;

use kvass_exposition::{Counts, SeriesCounter};
use kvass_model::{Labels, PrometheusLine};

use crate::{JobClient, ScrapeError, USER_AGENT};

/// Explores a target: scrapes it and counts its series as a Prometheus of `line` would store them. Nothing
/// is kept of the body. `labels` are the target's labels after relabelling.
///
/// # Errors
/// Whatever makes Prometheus fail the scrape.
pub async fn measure(
    client: &JobClient,
    url: &str,
    labels: &Labels,
    timeout: Duration,
    line: PrometheusLine,
) -> Result<Counts, ScrapeError> {
    let mut response = client.scrape(url, client.default_headers(timeout, USER_AGENT), timeout).await?;
    let options = client.count_options(labels, &response, line);
    let Some(first) = response.chunk().await? else {
        // Prometheus looks at the content type only once there is something to parse.
        let Ok(options) = options else { return Ok(Counts::default()) };
        return Ok(SeriesCounter::new(options).finish()?);
    };
    let mut counter = SeriesCounter::new(options?);
    counter.push(&first)?;
    while let Some(chunk) = response.chunk().await? {
        counter.push(&chunk)?;
    }
    Ok(counter.finish()?)
}
