//! (b) Twice the exporters, twice the shards; then few of them: drain, idle time, scale-in.

use std::time::Duration;

use crate::stage::Stage;

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    stage.steady(6, 3, Duration::from_secs(180)).await?;

    let act = stage.begin("6 → 12 exporters").await?;
    stage.generators(12).await?;
    stage.steady(12, 6, Duration::from_secs(180)).await?;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);
    let slowest = row.shards.slowest_first_scrape.unwrap_or(0);
    stage.expect("6 → 12 exporters: every target is found", row.shards.targets, row.shards.targets == 12);
    stage.expect("6 → 12 exporters: slowest first scrape", format!("{:.1} s", crate::stage::seconds(slowest)), true);

    let act = stage.begin("12 → 4 exporters").await?;
    stage.generators(4).await?;
    stage.steady(4, 2, Duration::from_secs(240)).await?;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);

    // Scaled in and not undone: pods that are still terminating must not count.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let fleet = stage.steady(4, 2, Duration::from_secs(5)).await;
    let seen = fleet.as_ref().map_or_else(|error| format!("{error:#}"), |fleet| format!("{:?}", fleet.targets));
    stage.expect("30 s later still 2 shards", seen, fleet.is_ok());
    Ok(())
}
