//! How long shards were away while their pods were replaced, and what that may cost.

use std::time::{Duration, Instant};

use crate::{
    cluster::Pod,
    measure::Row,
    stage::{Stage, seconds},
};

/// How long pods were not ready while they were replaced.
pub(super) struct Away {
    /// Of each, in seconds.
    seconds: Vec<f64>,
    /// Most of them at the same time.
    pub(super) at_once: usize,
}

/// Does something to shards and waits until each of those named was replaced and is ready again.
pub(super) async fn replaced(
    stage: &Stage,
    names: &[&str],
    act: impl AsyncFnOnce(&Stage) -> anyhow::Result<()>,
) -> anyhow::Result<Away> {
    let before = stage.fixture.shards(&stage.cluster).await?;
    let old: Vec<Option<&str>> =
        names.iter().map(|name| before.iter().find(|pod| pod.name == *name).map(|pod| pod.uid.as_str())).collect();
    let ((), away) = tokio::try_join!(act(stage), watched(stage, names, &old))?;
    Ok(away)
}

/// Looks at the pods until all are others than `old`, and ready.
async fn watched(stage: &Stage, names: &[&str], old: &[Option<&str>]) -> anyhow::Result<Away> {
    let mut gone: Vec<Option<i64>> = vec![None; names.len()];
    let mut at_once = 0;
    let limit = Duration::from_secs(60 * (1 + names.len() as u64));
    let start = Instant::now();
    loop {
        anyhow::ensure!(start.elapsed() < limit, "{names:?}: not replaced within {} s", limit.as_secs());
        let pods = stage.cluster.pods(stage.fixture.namespace).await?;
        let mut seconds_away = vec![];
        let mut unready = 0;
        for ((name, old), gone) in names.iter().zip(old).zip(&mut gone) {
            let pod = pods.iter().find(|pod| pod.name == *name);
            unready += usize::from(!pod.is_some_and(Pod::ready));
            match pod {
                Some(pod) if Some(pod.uid.as_str()) != *old => {
                    // Replaced between two looks: gone when the new one was made, at the latest.
                    let gone = *gone.get_or_insert(pod.created);
                    seconds_away.extend(pod.ready_since.map(|ready| seconds(ready - gone)));
                }
                Some(pod) => *gone = pod.deleting.or(*gone),
                None => {}
            }
        }
        at_once = at_once.max(unready);
        if seconds_away.len() == names.len() {
            return Ok(Away { seconds: seconds_away, at_once });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The promise where shards have to go: at most each pod's own time away plus an interval, for each of its targets; how
/// many intervals that is.
pub(super) fn expect_own_time(stage: &mut Stage, row: &Row, away: &Away, targets_of_each: u64) -> u64 {
    let interval = stage.fixture.interval.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few intervals")]
    let most: u64 = away.seconds.iter().map(|away| (away / interval).ceil() as u64 + 1).sum::<u64>() * targets_of_each;
    let longest = away.seconds.iter().copied().fold(0.0, f64::max);
    stage.expect_unscraped(row, most, &format!("{} pods not ready for up to {longest:.0} s", away.seconds.len()));
    most
}
