use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Scrapes remembered; the oldest go first.
const CAPACITY: usize = 10_000;

/// One request for metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Scrape {
    /// When it came.
    pub(crate) time: Timestamp,
    /// Path without parameters.
    pub(crate) path: String,
    /// What asked, empty if it did not say.
    pub(crate) user_agent: String,
    /// Address of who asked, which tells one scraper from another of the same kind.
    pub(crate) scraper: IpAddr,
}

/// Who asked for metrics, and when: what the exporter itself knows, whatever any shard has lost.
#[derive(Default)]
pub(crate) struct Record {
    scrapes: Mutex<VecDeque<Scrape>>,
}

impl Record {
    pub(crate) fn add(&self, path: &str, user_agent: &str, scraper: IpAddr) {
        // A socket for both families shows an IPv4 peer as an IPv6 address.
        let scraper = scraper.to_canonical();
        let scrape = Scrape { time: Timestamp::now(), path: path.to_owned(), user_agent: user_agent.to_owned(), scraper };
        let mut scrapes = self.scrapes.lock().unwrap_or_else(PoisonError::into_inner);
        if scrapes.len() == CAPACITY {
            scrapes.pop_front();
        }
        scrapes.push_back(scrape);
    }

    /// Oldest first.
    pub(crate) fn all(&self) -> Vec<Scrape> {
        self.scrapes.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let record = Record::default();
        for index in 0..CAPACITY + 2 {
            record.add(&format!("/{index}"), "", IpAddr::from([127, 0, 0, 1]));
        }
        let all = record.all();
        assert_eq!((all.len(), all[0].path.as_str()), (CAPACITY, "/2"));
    }

    #[test]
    fn an_ipv4_scraper_is_shown_as_one() {
        let record = Record::default();
        record.add("/metrics", "", "::ffff:10.1.2.3".parse().unwrap());
        assert_eq!(record.all()[0].scraper, IpAddr::from([10, 1, 2, 3]));
    }
}
