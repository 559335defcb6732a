use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    cluster::Pod,
    measure::{Lived, Observations, Scrape},
};

/// A stored `up` sample.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) target: String,
    pub(super) at: i64,
    pub(super) up: bool,
}

/// A line of an exporter's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecordedScrape {
    pub(super) at: i64,
    pub(super) scraper: IpAddr,
}

/// A pod over the time it was seen.
#[derive(Clone, Debug)]
struct Seen {
    pod: Pod,
    ready_since: Option<i64>,
    until: Option<i64>,
    last_seen: i64,
}

/// Everything collected so far. Pure: the caller says when it saw what.
pub(super) struct Recording {
    replicas: &'static [&'static str],
    pods: BTreeMap<String, Seen>,
    stored: BTreeMap<String, BTreeSet<i64>>,
    down: BTreeMap<String, BTreeSet<i64>>,
    visible: BTreeMap<String, BTreeSet<i64>>,
    control: BTreeMap<String, BTreeSet<i64>>,
    control_visible: BTreeMap<String, BTreeSet<i64>>,
    records: BTreeMap<String, BTreeSet<RecordedScrape>>,
    read: BTreeMap<String, i64>,
    /// Replica to its wished number of shards, whenever it changed.
    /// The numbers of shards by replica, and when they were last asked for.
    scales: BTreeMap<String, (Vec<(i64, u64)>, i64)>,
    last_look: Option<i64>,
    longest_pause: i64,
}

impl Recording {
    pub(super) fn new(replicas: &'static [&'static str]) -> Self {
        Self {
            replicas,
            pods: BTreeMap::new(),
            stored: BTreeMap::new(),
            down: BTreeMap::new(),
            visible: BTreeMap::new(),
            control: BTreeMap::new(),
            control_visible: BTreeMap::new(),
            records: BTreeMap::new(),
            read: BTreeMap::new(),
            scales: BTreeMap::new(),
            last_look: None,
            longest_pause: 0,
        }
    }

    /// All pods there are `at` this moment.
    pub(super) fn pods(&mut self, pods: &[Pod], at: i64) {
        for pod in pods {
            let seen = self.pods.entry(pod.uid.clone()).or_insert_with(|| Seen {
                pod: pod.clone(),
                ready_since: None,
                until: None,
                last_seen: at,
            });
            seen.pod = Pod { ip: pod.ip.or(seen.pod.ip), ..pod.clone() };
            seen.ready_since = seen.ready_since.or(pod.ready_since);
            seen.until = seen.until.or(pod.deleting);
            seen.last_seen = at;
        }
        for seen in self.pods.values_mut().filter(|seen| seen.last_seen < at) {
            seen.until = seen.until.or(Some(seen.last_seen));
        }
    }

    pub(super) fn died(&mut self, uid: &str, at: i64) {
        if let Some(seen) = self.pods.get_mut(uid) {
            seen.until = Some(at);
        }
    }

    pub(super) fn living_generators(&self) -> Vec<Pod> {
        self.pods.values().filter(|seen| seen.until.is_none() && seen.pod.is("metrics")).map(|seen| seen.pod.clone()).collect()
    }

    /// The living pod of a name label.
    pub(super) fn find(&self, name: &str) -> Option<Pod> {
        let living = self.pods.values().filter(|seen| seen.until.is_none() && seen.pod.is(name));
        living.max_by_key(|seen| seen.ready_since).map(|seen| seen.pod.clone())
    }

    /// The record of an exporter, asked for `at` this moment.
    pub(super) fn record(&mut self, target: &str, at: i64, scrapes: impl IntoIterator<Item = RecordedScrape>) {
        self.read.insert(target.to_owned(), at);
        self.records.entry(target.to_owned()).or_default().extend(scrapes);
    }

    pub(super) fn stored(&mut self, samples: Vec<Sample>, at: i64) {
        if let Some(last) = self.last_look.replace(at) {
            self.longest_pause = self.longest_pause.max(at - last);
        }
        for sample in samples {
            if !sample.up {
                self.down.entry(sample.target.clone()).or_default().insert(sample.at);
            }
            self.stored.entry(sample.target).or_default().insert(sample.at);
        }
    }

    /// Steps at which users see something.
    pub(super) fn visible(&mut self, samples: Vec<Sample>) {
        for sample in samples {
            self.visible.entry(sample.target).or_default().insert(sample.at);
        }
    }

    /// The same of the control.
    pub(super) fn control_visible(&mut self, samples: Vec<Sample>) {
        for sample in samples {
            self.control_visible.entry(sample.target).or_default().insert(sample.at);
        }
    }

    pub(super) fn control(&mut self, samples: Vec<Sample>) {
        for sample in samples {
            self.control.entry(sample.target).or_default().insert(sample.at);
        }
    }

    pub(super) fn longest_pause(&mut self) -> f64 {
        let pause = std::mem::take(&mut self.longest_pause);
        std::time::Duration::from_millis(u64::try_from(pause).unwrap_or(0)).as_secs_f64()
    }

    /// The exporters that were ever ready.
    pub(super) fn targets(&self) -> BTreeMap<String, Lived> {
        let generators = self.pods.values().filter(|seen| seen.pod.is("metrics"));
        generators
            .filter_map(|seen| Some((seen.pod.name.clone(), Lived { from: seen.ready_since?, until: seen.until })))
            .collect()
    }

    /// With what users see when all is over.
    pub(super) fn of_shards(&self, afterwards: &[Sample]) -> Observations {
        let scrapes = self.scrapes(|pod| self.is_shard(pod).then(|| pod.owner.clone()));
        Observations {
            stored: self.stored.clone(),
            down: self.down.clone(),
            scrapes,
            read: self.read.clone(),
            visible: union(&self.visible, afterwards),
            visible_afterwards: steps(afterwards),
        }
    }

    pub(super) fn of_control(&self, afterwards: &[Sample]) -> Observations {
        let scrapes = self.scrapes(|pod| pod.is("kvass-e2e-control").then(|| "control".to_owned()));
        Observations {
            stored: self.control.clone(),
            down: BTreeMap::new(),
            scrapes,
            read: self.read.clone(),
            visible: union(&self.control_visible, afterwards),
            visible_afterwards: steps(afterwards),
        }
    }

    /// The scrapes by those pods that `replica` names a replica for.
    fn scrapes(&self, replica: impl Fn(&Pod) -> Option<String>) -> BTreeMap<String, BTreeSet<Scrape>> {
        let of_target = |scrapes: &BTreeSet<RecordedScrape>| {
            let known =
                scrapes.iter().filter_map(|scrape| Some(Scrape { at: scrape.at, replica: replica(self.scraper(scrape)?)? }));
            known.collect()
        };
        self.records.iter().map(|(target, scrapes)| (target.clone(), of_target(scrapes))).collect()
    }

    /// `at` is when it was asked for: an answer that was overtaken by a later one is no news.
    pub(super) fn scale(&mut self, replica: &str, at: i64, scale: u64) {
        let (scales, asked) = self.scales.entry(replica.to_owned()).or_default();
        if at < *asked {
            return;
        }
        *asked = at;
        if scales.last().is_none_or(|(_, last)| *last != scale) {
            scales.push((at, scale));
        }
    }

    /// What each replica had at that moment, and everything since.
    pub(super) fn scales(&self, since: i64) -> BTreeMap<String, Vec<u64>> {
        let since = |scales: &Vec<(i64, u64)>| {
            let before = scales.partition_point(|(at, _)| *at <= since).saturating_sub(1);
            scales.iter().skip(before).map(|(_, scale)| *scale).collect()
        };
        self.scales.iter().map(|(replica, (scales, _))| (replica.clone(), since(scales))).collect()
    }

    /// Living exporters that no living shard scraped since.
    pub(super) fn unscraped(&self, since: i64) -> Vec<String> {
        let living = self.pods.values().filter(|seen| seen.until.is_none());
        let shards: BTreeSet<IpAddr> = living.filter(|seen| self.is_shard(&seen.pod)).filter_map(|seen| seen.pod.ip).collect();
        let scraped = |pod: &Pod| {
            let scrapes = self.records.get(&pod.name).into_iter().flatten();
            scrapes.filter(|scrape| scrape.at > since).any(|scrape| shards.contains(&scrape.scraper))
        };
        self.living_generators().into_iter().filter(|pod| !scraped(pod)).map(|pod| pod.name).collect()
    }

    /// The latest of all living exporters' first scrapes by a shard.
    pub(super) fn last_first_scrape(&self) -> Option<i64> {
        let scrapes = self.scrapes(|pod| self.is_shard(pod).then(String::new));
        self.living_generators().iter().filter_map(|pod| Some(scrapes.get(&pod.name)?.first()?.at)).max()
    }

    fn is_shard(&self, pod: &Pod) -> bool {
        self.replicas.contains(&pod.owner.as_str())
    }

    /// The pod that had the address then: addresses are given again.
    fn scraper(&self, scrape: &RecordedScrape) -> Option<&Pod> {
        let had = |seen: &&Seen| seen.pod.ip == Some(scrape.scraper) && seen.pod.created <= scrape.at;
        self.pods.values().filter(had).max_by_key(|seen| seen.pod.created).map(|seen| &seen.pod)
    }
}

fn union(before: &BTreeMap<String, BTreeSet<i64>>, samples: &[Sample]) -> BTreeMap<String, BTreeSet<i64>> {
    let mut union = before.clone();
    for sample in samples {
        union.entry(sample.target.clone()).or_default().insert(sample.at);
    }
    union
}

fn steps(samples: &[Sample]) -> BTreeMap<String, BTreeSet<i64>> {
    union(&BTreeMap::new(), samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, uid: &str, label: &str, owner: &str, ip: [u8; 4], created: i64) -> Pod {
        Pod {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            uid: uid.to_owned(),
            ip: Some(ip.into()),
            node: "node1".to_owned(),
            labels: BTreeMap::from([("app.kubernetes.io/name".to_owned(), label.to_owned())]),
            ports: vec![],
            owner: owner.to_owned(),
            created,
            started: Some(created + 2),
            ready_since: Some(created + 5),
            deleting: None,
            restarts: 0,
            waiting: vec![],
        }
    }

    #[test]
    fn an_address_belongs_to_the_pod_that_had_it_then() {
        let mut recording = Recording::new(&["rep-0"]);
        let shard = pod("rep-0-0", "1", "prometheus", "rep-0", [10, 0, 0, 1], 100);
        let control = pod("control", "2", "kvass-e2e-control", "control-1", [10, 0, 0, 1], 500);
        recording.pods(&[shard], 110);
        recording.pods(&[control], 510);
        let scrape = |at| RecordedScrape { at, scraper: [10, 0, 0, 1].into() };
        recording.record("a", 600, [scrape(50), scrape(150), scrape(550)]);
        let times = |observations: Observations| observations.scrapes["a"].iter().map(|scrape| scrape.at).collect::<Vec<_>>();
        assert_eq!(times(recording.of_shards(&[])), [150]);
        assert_eq!(times(recording.of_control(&[])), [550]);
    }

    #[test]
    fn scales_are_told_from_a_moment_on() {
        let mut recording = Recording::new(&["rep-0"]);
        for (at, scale) in [(1, 2), (3, 2), (5, 6), (7, 6), (9, 2)] {
            recording.scale("rep-0", at, scale);
        }
        assert_eq!(recording.scales(0)["rep-0"], [2, 6, 2]);
        assert_eq!(recording.scales(6)["rep-0"], [6, 2]);
        assert_eq!(recording.scales(99)["rep-0"], [2]);
        recording.scale("rep-0", 8, 6);
        assert_eq!(recording.scales(99)["rep-0"], [2], "overtaken");
    }

    #[test]
    fn a_target_lives_from_ready_until_it_is_asked_to_end_or_last_seen() {
        let mut recording = Recording::new(&["rep-0"]);
        let (a, b) = (pod("a", "1", "metrics", "m", [10, 0, 0, 1], 100), pod("b", "2", "metrics", "m", [10, 0, 0, 2], 100));
        recording.pods(&[a.clone(), b.clone()], 110);
        recording.pods(&[Pod { deleting: Some(150), ready_since: None, ..a }, b], 160);
        recording.pods(&[], 200);
        let targets = recording.targets();
        assert_eq!((targets["a"].from, targets["a"].until), (105, Some(150)));
        assert_eq!((targets["b"].from, targets["b"].until), (105, Some(160)));
        assert!(recording.living_generators().is_empty());
    }
}
