//! Speaking the configuration hash of a coordinator of the original: which build of it asks is not known, so the shapes of
//! the hash are tried until it stops pushing a configuration that is in force already.

use std::sync::Mutex;

use kvass_config::{Config, ConfigHash, HashShape, original_hash};

use crate::lock;

/// Who speaks to the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A coordinator of this port, which knows our own hash.
    Ours,
    /// Anybody else: for all we know, a coordinator of the original.
    Other,
}

impl Caller {
    pub(crate) fn of(user_agent: Option<&str>) -> Caller {
        if user_agent.is_some_and(|agent| agent.starts_with(kvass_api::USER_AGENT_PREFIX)) { Caller::Ours } else { Caller::Other }
    }
}

/// The shape of the hash that is answered, and the values of the configuration at hand.
#[derive(Debug, Default)]
pub(crate) struct Emulation(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Of [`HashShape::ALL`]. Outlives the configuration: the coordinator stays the same.
    shape: usize,
    values: Option<Values>,
}

#[derive(Debug)]
struct Values {
    of: ConfigHash,
    by_shape: Vec<Option<String>>,
    /// The present shape's value was answered, so a push of the same configuration means that it is not the coordinator's.
    answered: bool,
}

impl Emulation {
    /// The hash to answer to a coordinator of the original; `None` if it is not known for this configuration.
    pub(crate) fn hash_of(&self, config: &Config) -> Option<String> {
        let mut state = lock(&self.0);
        let shape = state.shape;
        let values = state.values_of(config);
        let value = values.cycle_from(shape).next().map(|(_, value)| value.to_owned());
        values.answered |= value.is_some();
        value
    }

    /// Notes that such a coordinator pushed the configuration that is in force: the next shape is tried. After the last one
    /// it is the first again, since the coordinator may have been exchanged meanwhile.
    pub(crate) fn pushed(&self, config: &Config) {
        let mut state = lock(&self.0);
        let shape = state.shape;
        let values = state.values_of(config);
        if !std::mem::take(&mut values.answered) {
            return;
        }
        let next = values.after(shape);
        if let Some(next) = next {
            tracing::info!(
                shape = %HashShape::ALL[next],
                "the coordinator of the original has another configuration hash, the next form is tried"
            );
            state.shape = next;
        }
    }
}

impl State {
    fn values_of(&mut self, config: &Config) -> &mut Values {
        let kept = self.values.take().filter(|values| values.of == *config.hash());
        self.values.insert(kept.unwrap_or_else(|| Values {
            of: config.hash().clone(),
            by_shape: HashShape::ALL.iter().map(|shape| original_hash(config.text(), *shape)).collect(),
            answered: false,
        }))
    }
}

impl Values {
    /// The known values, that of `shape` first.
    fn cycle_from(&self, shape: usize) -> impl Iterator<Item = (usize, &str)> {
        let count = self.by_shape.len();
        (shape..shape + count).filter_map(move |index| {
            let index = index % count;
            self.by_shape[index].as_deref().map(|value| (index, value))
        })
    }

    /// The next shape with another value; shapes differ only where the configuration has what they treat differently.
    fn after(&self, shape: usize) -> Option<usize> {
        let (_, present) = self.cycle_from(shape).next()?;
        self.cycle_from(shape).find(|(_, value)| *value != present).map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use kvass_config::LoadContext;

    use super::*;

    fn config(text: &str) -> Config {
        let context = LoadContext {
            path: "/prometheus.yml".into(),
            line: kvass_model::PrometheusLine::default(),
            env: &|_| None,
            read_glob: &|_| Ok(Vec::new()),
        };
        Config::parse(text, &context).unwrap()
    }

    /// What a coordinator gets that never agrees, over `cycles` of asking and pushing.
    fn answers(emulation: &Emulation, config: &Config, cycles: usize) -> Vec<Option<String>> {
        let one = |_| {
            let answer = emulation.hash_of(config);
            emulation.pushed(config);
            answer
        };
        (0..cycles).map(one).collect()
    }

    fn values(text: &str) -> Vec<Option<String>> {
        HashShape::ALL.iter().map(|shape| original_hash(text, *shape)).collect()
    }

    #[test]
    fn every_value_is_tried_and_then_the_first_again() {
        let plain = "scrape_configs: [{job_name: a}]";
        let [head, v0_2, ..] = &values(plain)[..] else { panic!() };
        assert_ne!(head, v0_2);
        let expected = [head, v0_2, head, v0_2].map(Clone::clone);
        assert_eq!(answers(&Emulation::default(), &config(plain), 4), expected, "without a URL the Go version does not matter");

        let with_url = "scrape_configs: [{job_name: a, proxy_url: 'http://p'}]";
        let mut expected = values(with_url);
        expected.push(expected[0].clone());
        assert_eq!(answers(&Emulation::default(), &config(with_url), 7), expected);
    }

    #[test]
    fn a_shape_without_a_value_is_passed_over() {
        let newer = "scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod, attach_metadata: {node: true}}]}]";
        let [head, None, ..] = &values(newer)[..] else { panic!() };
        assert_eq!(answers(&Emulation::default(), &config(newer), 3), [head, head, head].map(Clone::clone));
        let unknown = "scrape_configs: [{job_name: a, ec2_sd_configs: [{}]}]";
        assert_eq!(answers(&Emulation::default(), &config(unknown), 2), [None, None]);
    }

    #[test]
    fn the_shape_that_was_agreed_upon_outlives_the_configuration() {
        let emulation = Emulation::default();
        answers(&emulation, &config("scrape_configs: [{job_name: a}]"), 1);
        let other = "scrape_configs: [{job_name: b}]";
        assert_eq!(emulation.hash_of(&config(other)), original_hash(other, HashShape::V0_2));
    }

    #[test]
    fn a_push_before_the_hash_was_asked_for_says_nothing() {
        let (emulation, text) = (Emulation::default(), "scrape_configs: [{job_name: a}]");
        let config = config(text);
        emulation.pushed(&config);
        assert_eq!(emulation.hash_of(&config), original_hash(text, HashShape::HEAD));
        emulation.pushed(&config);
        emulation.pushed(&config);
        assert_eq!(emulation.hash_of(&config), original_hash(text, HashShape::V0_2));
    }

    #[test]
    fn callers() {
        assert_eq!(Caller::of(Some("kvass/0.4.0")), Caller::Ours);
        for other in [None, Some("Go-http-client/1.1"), Some("curl/8")] {
            assert_eq!(Caller::of(other), Caller::Other);
        }
    }
}
