//! kvass: shards a Prometheus.

mod flags;
mod generator;
mod options;

fn main() {}
