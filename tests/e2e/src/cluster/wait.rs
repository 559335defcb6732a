use std::{
    future::Future,
    time::{Duration, Instant},
};

/// Looks every second until it sees what it wants; an error is the reason why not yet. The last one is told
/// when the time is over.
pub(crate) async fn until<T, F>(what: &str, limit: Duration, mut look: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let start = Instant::now();
    loop {
        match look().await {
            Ok(seen) => return Ok(seen),
            Err(reason) if start.elapsed() > limit => {
                return Err(reason.context(format!("{what}: not within {} s", limit.as_secs())));
            }
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}
