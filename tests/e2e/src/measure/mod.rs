//! What a story is judged by. Pure: timestamps in, figures out.
//!
//! Figures that are easily taken for one another are kept apart:
//!
//! - *missing* intervals: samples that no shard has, from what every shard stored, without deduplication;
//! - *visible* holes: steps at which a user's query finds nothing, while the story runs; *lost* are those that were
//!   visible then and no more when it was over;
//! - *unscraped* intervals: scrapes that did not happen, from the exporters' own record. Only this one survives
//!   a pod that lost its data, so history that was lost is told from scrapes that were missed.

mod figures;
mod gaps;
mod table;

pub(crate) use self::{
    figures::{Figures, Lived, Observations, Scrape, figures, remarks},
    gaps::Window,
    table::{Format, Row, StoryTable, render},
};
